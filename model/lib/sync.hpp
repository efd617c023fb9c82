// Locks, wait queues, completions: kernel semantics and the kernel's rules about context.
#pragma once

#include "lib/memory.hpp"

namespace at::model {

// What lockdep would say of a spinlock: taken in an interrupt, and elsewhere with that enabled.
class SpinLock : public Cell {
public:
    explicit SpinLock(const char* cell_name) : Cell(cell_name) {}

    void lock(Location where = Location::current()) { take("spin_lock", where); }
    void unlock(Location where = Location::current()) { give(where); }
    void lock_irq(Location where = Location::current()) {
        irqs_disable();
        take("spin_lock_irq", where);
    }
    void unlock_irq(Location where = Location::current()) {
        give(where);
        irqs_enable(where);
    }
    // irqsave and irqrestore nest like irq here: a count takes the place of the flags word.
    void lock_irqsave(Location where = Location::current()) { lock_irq(where); }
    void unlock_irqrestore(Location where = Location::current()) { unlock_irq(where); }
    void lock_bh(Location where = Location::current()) {
        ++exec->self().bh_off;
        take("spin_lock_bh", where);
    }
    void unlock_bh(Location where = Location::current()) {
        give(where);
        --exec->self().bh_off;
    }
    bool trylock(Location where = Location::current());
    bool held_by_self() const { return owner_ == exec->self().id; }
    // spin_unlock_irq or local_irq_enable where the caller had them off is context:irqs-enabled.
    static void irqs_disable() { ++exec->self().irqs_off; }
    static void irqs_enable(Location where = Location::current());

private:
    void take(const char* verb, Location where);
    void give(Location where);
    void judge_context(Location where);

    FiberId owner_ = no_fiber;
    Mask waiters_ = 0;
    bool in_hardirq_ = false, in_softirq_ = false, with_irqs_on_ = false, with_bh_on_ = false;
};

class Mutex : public Cell {
public:
    explicit Mutex(const char* cell_name) : Cell(cell_name) {}
    void lock(Location where = Location::current());
    void unlock(Location where = Location::current());

private:
    FiberId owner_ = no_fiber;
    Mask waiters_ = 0;
};

// Guard for either, in the order that a block gives.
template <class L> class Locked {
public:
    explicit Locked(L& lock, Location where = Location::current()) : lock_(lock) {
        lock_.lock(where);
    }
    ~Locked() { lock_.unlock(); }
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;

private:
    L& lock_;
};

// prepare_to_wait, schedule, finish_wait, wake_up: the sleeper is on the queue from prepare to
// finish, and a wake-up makes it runnable whether or not it sleeps yet.
class WaitQueue : public Cell {
public:
    explicit WaitQueue(const char* cell_name) : Cell(cell_name) {}

    void prepare_to_wait(Location where = Location::current());
    void schedule(Location where = Location::current());
    void finish_wait(Location where = Location::current());
    // waitqueue_active() behind a full barrier, as wq_has_sleeper().
    bool active(Location where = Location::current()) {
        exec->point(this, Access::read, "waitqueue_active", where);
        return sleepers_ != 0;
    }
    // Wakes all. Returns whether anybody was on the queue.
    bool wake_up(Location where = Location::current());

    // wait_event(): `condition` makes its own points. `truth` says without a point whether the
    // condition holds, so that a sleeper that nobody woke is told from one with nothing to do.
    template <class C, class T>
    void wait_event(C condition, const T& truth, Location where = Location::current()) {
        might_sleep(where);
        if (condition())
            return;
        Fiber& self = exec->self();
        self.wait_over = [](const void* t) { return bool((*static_cast<const T*>(t))()); };
        self.wait_argument = &truth;
        for (;;) {
            prepare_to_wait(where);
            if (condition())
                break;
            schedule(where);
        }
        finish_wait(where);
        self.wait_over = nullptr;
    }
    template <class V>
    void wait_until_zero(Atomic<V>& value, Location where = Location::current()) {
        wait_event([&] { return value.read_acquire(where) == 0; },
                   [&] { return value.peek() == 0; }, where);
    }

private:
    Mask sleepers_ = 0;
};

class Completion : public Cell {
public:
    explicit Completion(const char* cell_name) : Cell(cell_name) {}
    void complete(Location where = Location::current());
    void complete_all(Location where = Location::current());
    void wait(Location where = Location::current());
    // wait_for_completion_timeout(): false when `timeout`, which the caller started, came first.
    template <class T> bool wait_timeout(T& timeout, Location where = Location::current()) {
        might_sleep(where);
        timeout.start(where);
        waiters_ |= bit(exec->self().id);
        exec->point(this, Access::write, "wait_for_completion_timeout", where,
                    done_ > 0 || timeout.fired());
        waiters_ &= ~bit(exec->self().id);
        const bool came = done_ > 0;
        if (came)
            take();
        timeout.end(where);
        return came;
    }
    // In no race with wait: the kernel's is a plain store.
    void reinit(Location where = Location::current()) {
        exec->point(this, Access::write, "reinit_completion", where);
        done_ = 0;
    }
    bool done() const { return done_ > 0; }

private:
    void take();
    unsigned done_ = 0;
    Mask waiters_ = 0;
};

// cpu_relax() in a loop: blocks until something that was read since the last one changes.
inline void cpu_relax(Location where = Location::current()) {
    exec->spin(where);
}

} // namespace at::model
