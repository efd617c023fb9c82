#include "lib/books.hpp"

#include <stdexcept>

namespace at::model {

Refs::Holder& Refs::holder(const char* holder_name) {
    for (Holder& one : holder_)
        if (!one.name || std::string_view(one.name) == holder_name) {
            one.name = holder_name;
            return one;
        }
    throw std::length_error("more than 8 holders of one reference count");
}

void Refs::get(const char* by, Location where) {
    exec->point(this, Access::write, "get", where);
    if (exec->live() && count_ <= 0)
        exec->fail("reference", std::string(name) + " taken from zero by " + by,
                   std::string(name) + ":" + by + ":from-zero", where);
    ++holder(by).held;
    ++count_;
    if (exec->recording())
        exec->remark(where, "  %s: %s takes one, %d", name, by, count_);
}

bool Refs::get_unless_zero(const char* by, Location where) {
    exec->point(this, Access::write, "get_unless_zero", where);
    if (count_ <= 0)
        return false;
    if (exec->live()) {
        exec->acquire(release);
        exec->release(release);
    }
    ++holder(by).held;
    ++count_;
    if (exec->recording())
        exec->remark(where, "  %s: %s takes one, %d", name, by, count_);
    return true;
}

bool Refs::put(const char* by, Location where) {
    exec->point(this, Access::write, "put", where);
    if (exec->live()) {
        exec->acquire(release);
        exec->release(release);
    }
    Holder& one = holder(by);
    if (count_ <= 0)
        exec->fail("reference", std::string(name) + " dropped below zero by " + by,
                   std::string(name) + ":" + by + ":below-zero", where);
    if (one.held <= 0)
        exec->fail("reference", std::string(name) + " dropped by " + by + ", which holds none",
                   std::string(name) + ":" + by + ":not-held", where);
    --one.held;
    --count_;
    if (exec->recording())
        exec->remark(where, "  %s: %s drops one, %d", name, by, count_);
    return count_ == 0;
}

std::string Refs::holders() const {
    std::string text;
    for (const Holder& one : holder_)
        if (one.name && one.held)
            text += (text.empty() ? "" : ",") + std::string(one.name);
    return text;
}

Ledger::Request Ledger::submitted(const char* name) {
    if (requests_ == requests_max)
        throw std::length_error("more than 16 requests in one schedule");
    line_[requests_] = {name, 0, 0, false, false, false};
    return requests_++;
}

void Ledger::event(Request request, long result, Location where) {
    Line& line = line_[request];
    if (exec->recording())
        exec->remark(where, "event of %s: %ld", line.name, result);
    if (++line.events > 1)
        exec->fail("ledger", std::string(line.name) + " completed twice",
                   std::string(line.name) + ":double-completion", where);
    if (line.cancelled && !contract_.cancelled_sends_event)
        exec->fail("ledger",
                   std::string(line.name) + " sends an event although io_cancel answered for it",
                   std::string(line.name) + ":event-after-cancel", where);
    line.result = result;
}

void Ledger::cancelled(Request request, Location where) {
    Line& line = line_[request];
    if (exec->recording())
        exec->remark(where, "io_cancel of %s succeeds", line.name);
    if (line.cancelled)
        exec->fail("ledger", std::string(line.name) + " cancelled twice with success",
                   std::string(line.name) + ":double-cancel", where);
    line.cancelled = true;
    if (line.events && !contract_.cancelled_sends_event)
        exec->fail("ledger",
                   std::string(line.name) + " answered by io_cancel although its event was sent",
                   std::string(line.name) + ":event-and-cancel", where);
}

void Ledger::refused(Request request) {
    line_[request].refused = true;
}

void Ledger::check(Location where) const {
    for (unsigned i = 0; i < requests_; ++i) {
        const Line& line = line_[i];
        const bool owed =
            !line.refused && !line.swept && !(line.cancelled && !contract_.cancelled_sends_event);
        if (owed && !line.events)
            exec->fail("ledger", std::string(line.name) + " never completes",
                       std::string(line.name) + ":no-event", where);
        if (line.refused && line.events)
            exec->fail("ledger", std::string(line.name) + " completes although it was refused",
                       std::string(line.name) + ":event-and-error", where);
    }
}

} // namespace at::model
