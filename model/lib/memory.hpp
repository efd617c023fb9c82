// Plain fields, atomics and objects.
//
//   Var<T>     a plain field: reads and writes are judged by happens-before (data-race, use-after-
//              free) and are no scheduling points.
//   Atomic<T>  what the kernel accesses by READ_ONCE, atomic_t, cmpxchg, xchg: each access is a
//              point. Orders are the kernel's: value-returning read-modify-writes are full
//              barriers, plain loads and stores order nothing unless they say acquire or release.
//   create<T>, destroy    objects of the schedule's arena; memory is never reused in a schedule,
//              so that a use after free is found at the access.
#pragma once

#include "sched/exec.hpp"

#include <optional>
#include <tuple>

namespace at::model {

template <class T> void hash_value(const T& value) {
    // A pointer's bits depend on the run; integers, enumerations and bools do not.
    if constexpr (std::is_integral_v<T> || std::is_enum_v<T>)
        exec->hash(static_cast<std::uint64_t>(value));
}

template <class T> std::string shown(const T& value) {
    if constexpr (std::is_same_v<T, bool>)
        return value ? "true" : "false";
    else if constexpr (std::is_integral_v<T>)
        return std::to_string(value);
    else if constexpr (std::is_enum_v<T>)
        return std::to_string(static_cast<long long>(value));
    else if constexpr (std::is_pointer_v<T>)
        return value ? "non-null" : "null";
    else
        return "…";
}

// Happens-before state of one plain location.
class PlainBooks {
public:
    // The fiber that races with this access, or no_fiber.
    FiberId read() {
        const Fiber& self = exec->self();
        reads_.set(self.id & 31, self.epoch);
        return exec->ordered(writer_, written_) ? no_fiber : writer_;
    }
    FiberId write() {
        const Fiber& self = exec->self();
        FiberId other = exec->ordered(writer_, written_) ? no_fiber : writer_;
        if (reads_.beyond(self.clocks.hb, exec->lanes())) {
            const FiberId reader = reads_.first_beyond(self.clocks.hb);
            if (reader != self.id && reader != no_fiber)
                other = reader;
        }
        writer_ = self.id;
        written_ = self.epoch;
        return other;
    }

private:
    Clock reads_;
    FiberId writer_ = root_fiber;
    Epoch written_ = 0;
};

void report_race(ObjectId owner, const char* field, FiberId other, const char* verb,
                 Location where);

template <class T> class Var {
public:
    explicit Var(const char* name, T initial = T{})
        : value_(initial), name_(name), owner_(exec->owner_of(this)) {}
    Var(const Var&) = delete;
    Var& operator=(const Var&) = delete;

    T get(Location where = Location::current()) const {
        if (exec->live()) {
            exec->touch(owner_, name_, where);
            if (const FiberId other = books_.read(); other != no_fiber)
                report_race(owner_, name_, other, "read", where);
            if (exec->recording())
                exec->remark(where, "%s is %s", name_, shown(value_).c_str());
        }
        return value_;
    }
    void set(T value, Location where = Location::current()) {
        if (exec->live()) {
            exec->touch(owner_, name_, where);
            if (const FiberId other = books_.write(); other != no_fiber)
                report_race(owner_, name_, other, "written", where);
            if (exec->recording())
                exec->remark(where, "%s := %s", name_, shown(value).c_str());
        }
        value_ = value;
    }
    // x->n += d, as two plain accesses.
    T add(T d, Location where = Location::current()) {
        const T value = static_cast<T>(get(where) + d);
        set(value, where);
        return value;
    }

private:
    T value_;
    const char* name_;
    ObjectId owner_;
    mutable PlainBooks books_;
};

template <class T> class Atomic : public Cell {
public:
    explicit Atomic(const char* cell_name, T initial = T{}) : Cell(cell_name), value_(initial) {}
    Atomic(const Atomic&) = delete;
    Atomic& operator=(const Atomic&) = delete;

    // READ_ONCE, atomic_read: no order.
    T read(Location where = Location::current()) { return load("read", false, where); }
    // smp_load_acquire.
    T read_acquire(Location where = Location::current()) {
        return load("read (acquire)", true, where);
    }
    // WRITE_ONCE, atomic_set: no order.
    void write(T value, Location where = Location::current()) { store(value, false, where); }
    // smp_store_release.
    void write_release(T value, Location where = Location::current()) { store(value, true, where); }

    // The following return the old value and are full barriers when they succeed.
    T xchg(T value, Location where = Location::current()) {
        return modify(
            "xchg", [&](T) { return std::optional<T>(value); }, where);
    }
    T cmpxchg(T expected, T desired, Location where = Location::current()) {
        return modify(
            "cmpxchg",
            [&](T old) { return old == expected ? std::optional<T>(desired) : std::nullopt; },
            where);
    }
    T fetch_add(T d, Location where = Location::current()) {
        return modify(
            "add", [&](T old) { return std::optional<T>(static_cast<T>(old + d)); }, where);
    }
    // atomic_dec_and_test.
    bool dec_and_test(Location where = Location::current()) {
        return modify(
                   "dec_and_test", [](T old) { return std::optional<T>(static_cast<T>(old - 1)); },
                   where) == 1;
    }
    bool test_and_set_bit(unsigned n, Location where = Location::current()) {
        return modify(
                   "test_and_set_bit",
                   [&](T old) { return std::optional<T>(static_cast<T>(old | (T{1} << n))); },
                   where) >>
                   n &
               1;
    }
    // What it is now, for conditions and end checks; no access of any racer.
    T peek() const { return value_; }
    // In set-up only.
    void initialise(T value) { value_ = value; }

    // f(old) gives the new value, or nothing to leave it.
    template <class F> T modify(const char* verb, F f, Location where) {
        exec->point(this, Access::write, verb, where);
        const T old = value_;
        const std::optional<T> next = f(old);
        if (!exec->live()) {
            value_ = next.value_or(old);
            return old;
        }
        exec->acquire(release);
        if (next) {
            exec->release(release);
            if (*next != old)
                exec->wrote(*this);
            value_ = *next;
        }
        exec->saw(*this);
        hash_value(old);
        if (exec->recording())
            exec->remark(where, "  %s: %s, then %s", name, shown(old).c_str(),
                         shown(value_).c_str());
        return old;
    }

private:
    T load(const char* verb, bool acquires, Location where) {
        exec->point(this, Access::read, verb, where);
        if (exec->live()) {
            if (acquires)
                exec->acquire(release);
            exec->saw(*this);
            hash_value(value_);
            if (exec->recording())
                exec->remark(where, "  %s: %s", name, shown(value_).c_str());
        }
        return value_;
    }
    void store(T value, bool releases, Location where) {
        exec->point(this, Access::write, "write", where);
        if (exec->live()) {
            if (releases) {
                // A store starts a new release sequence; what was there is no longer learnt.
                release = Clocks{};
                exec->release(release);
            }
            if (value != value_)
                exec->wrote(*this);
            hash_value(value);
            if (exec->recording())
                exec->remark(where, "  %s := %s", name, shown(value).c_str());
        }
        value_ = value;
    }

    T value_;
};

// An object of the schedule's arena. Fields that are Var or Atomic know that they lie in it.
template <class T, class... A> T* create(const char* name, A&&... arguments) {
    static_assert(std::is_trivially_destructible_v<T>, "schedules end without destructors");
    void* const at = exec->allocate(sizeof(T), alignof(T));
    exec->open_object(name, at, sizeof(T), false);
    return new (at) T(std::forward<A>(arguments)...);
}

enum class Gfp : std::uint8_t { kernel, atomic };
void might_sleep(Location where = Location::current());

// An allocation that may fail, by a choice (at most Limits::failed_allocations in a schedule).
template <class T> T* try_create(const char* name, Gfp gfp, Location where = Location::current()) {
    if (gfp == Gfp::kernel)
        might_sleep(where);
    return exec->allocation_fails(name, where) ? nullptr : create<T>(name);
}

template <class T> void destroy(T* object, Location where = Location::current()) {
    exec->free_object(exec->owner_of(object), where);
}

// An access to an object as a whole, where the code dereferences it but the model has no field.
void use(const void* object, const char* field, Location where = Location::current());

} // namespace at::model
