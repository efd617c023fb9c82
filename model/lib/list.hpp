// struct list_head, with what CONFIG_DEBUG_LIST would say. Links are plain fields: what protects
// them must order their accesses. Objects embed a ListNode that knows its object.
#pragma once

#include "lib/memory.hpp"

namespace at::model {

class ListNode {
public:
    explicit ListNode(const char* name, void* object = nullptr)
        : next_(name, this), prev_(name, this), name_(name), object_(object) {}

    // INIT_LIST_HEAD: alone, whatever the links were.
    void init(Location where = Location::current()) {
        next_.set(this, where);
        prev_.set(this, where);
    }
    bool empty(Location where = Location::current()) const { return next_.get(where) == this; }
    void add(ListNode& node, Location where = Location::current()) { insert(node, this, where); }
    void add_tail(ListNode& node, Location where = Location::current()) {
        insert(node, prev_.get(where), where);
    }
    // list_del: a second one is the finding list:NAME:double-del.
    void del(Location where = Location::current()) {
        ListNode* const next = unlink(where);
        if (next) {
            next_.set(nullptr, where);
            prev_.set(nullptr, where);
        }
    }
    void del_init(Location where = Location::current()) {
        if (unlink(where)) {
            next_.set(this, where);
            prev_.set(this, where);
        }
    }
    ListNode* next(Location where = Location::current()) const { return next_.get(where); }
    // The object of the first node, or null when the list is empty.
    template <class T> T* first(Location where = Location::current()) const {
        ListNode* const node = next_.get(where);
        return node == this ? nullptr : static_cast<T*>(node->object_);
    }
    template <class T> T* object() const { return static_cast<T*>(object_); }

private:
    void insert(ListNode& node, ListNode* after, Location where) {
        ListNode* const before = after->next_.get(where);
        if (!before)
            exec->fail("list", std::string(name_) + ": added beside a deleted node",
                       std::string(name_) + ":add-to-deleted", where);
        node.next_.set(before, where);
        node.prev_.set(after, where);
        before->prev_.set(&node, where);
        after->next_.set(&node, where);
    }
    ListNode* unlink(Location where) {
        ListNode* const next = next_.get(where);
        ListNode* const prev = prev_.get(where);
        if (!next || !prev) {
            exec->fail("list", std::string(name_) + " deleted twice",
                       std::string(name_) + ":double-del", where);
            return nullptr;
        }
        next->prev_.set(prev, where);
        prev->next_.set(next, where);
        return next;
    }

    Var<ListNode*> next_;
    Var<ListNode*> prev_;
    const char* name_;
    void* object_;
};

} // namespace at::model
