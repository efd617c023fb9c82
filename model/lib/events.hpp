// Timers, work items, interrupts, RCU callbacks: fibers that become enabled.
//
// Each owns one fiber, so a callback never runs beside itself, as in the kernel. When it fires is
// the scheduler's choice: a timer's time has no meaning here. Names and functions must outlive
// the schedule: string literals, and trivially destructible functions.
#pragma once

#include "lib/sync.hpp"

namespace at::model {

// Common part: armed, running, and the fiber that fires.
class Event : public Cell {
public:
    bool armed() const { return armed_; }
    bool running() const { return running_; }

protected:
    template <class F>
    Event(const char* event_name, Racer racer, Context context, F function) : Cell(event_name) {
        static_assert(std::is_trivially_destructible_v<F>);
        auto* const kept = new (exec->allocate(sizeof(F), alignof(F))) F(function);
        call_ = [](void* f) { (*static_cast<F*>(f))(); };
        function_ = kept;
        fiber_ = exec->spawn(event_name, racer, context, &Event::body, this, true);
    }
    // Each is one point; true when it was armed before.
    bool arm(const char* verb, Location where);
    bool disarm(const char* verb, Location where);
    void wait_idle(Location where);
    // Until what is queued now has run, as flush_work() does.
    void wait_done(Location where);
    FiberId fiber() const { return fiber_; }

private:
    static void body(void* self);

    bool armed_ = false;
    bool running_ = false;
    FiberId fiber_;
    Mask idle_waiters_ = 0;
    Mask done_waiters_ = 0;
    void (*call_)(void*) = nullptr;
    void* function_ = nullptr;
};

// timer_list: the callback runs in softirq context.
class Timer : public Event {
public:
    template <class F>
    Timer(const char* timer_name, Racer racer, F function)
        : Event(timer_name, racer, Context::softirq, function) {}
    bool mod(Location where = Location::current()) { return arm("mod_timer", where); }
    bool del(Location where = Location::current()) { return disarm("del_timer", where); }
    // Waits for a running callback: context:…:sleeps-free, but a deadlock under its lock.
    bool del_sync(Location where = Location::current()) {
        const bool was = disarm("del_timer_sync", where);
        wait_idle(where);
        return was;
    }
};

// work_struct on a workqueue: runs in task context; queued once however often it is scheduled.
class Work : public Event {
public:
    template <class F>
    Work(const char* work_name, Racer racer, F function)
        : Event(work_name, racer, Context::task, function) {}
    // False when it was queued already, as schedule_work() says.
    bool schedule(Location where = Location::current()) { return !arm("schedule_work", where); }
    bool cancel_sync(Location where = Location::current()) {
        might_sleep(where);
        const bool was = disarm("cancel_work_sync", where);
        wait_idle(where);
        return was;
    }
    void flush(Location where = Location::current()) {
        might_sleep(where);
        wait_done(where);
    }
    // work_busy: queued, or its function has not returned.
    bool busy(Location where = Location::current()) {
        exec->point(this, Access::read, "work_busy", where);
        return armed() || running();
    }
};

// hrtimer: the callback runs in hardirq context, at `expires` or later.
class HrTimer : public Event {
public:
    template <class F>
    HrTimer(const char* timer_name, Racer racer, F function)
        : Event(timer_name, racer, Context::hardirq, function) {}
    void start(Location where = Location::current()) { arm("hrtimer_start", where); }
    bool cancel(Location where = Location::current()) {
        const bool was = disarm("hrtimer_cancel", where);
        wait_idle(where);
        return was;
    }
    // hrtimer_is_queued: an unordered look.
    bool queued(Location where = Location::current()) {
        exec->point(this, Access::read, "hrtimer_is_queued", where);
        return armed();
    }
};

// schedule_timeout() of one fiber: ends its wait by a firing that may come at any point.
class Timeout : public Event {
public:
    explicit Timeout(FiberId sleeper)
        : Event("timeout", exec->fiber(sleeper).racer, Context::softirq,
                [this] {
                    fired_ = true;
                    exec->order_after_self(exec->sleeper(sleeper_));
                    exec->enable(bit(sleeper_));
                }),
          sleeper_(sleeper) {}
    void start(Location where) {
        fired_ = false;
        arm("schedule_timeout", where);
    }
    void end(Location where) { disarm("del_timer_sync", where); }
    bool fired() const { return fired_; }

private:
    FiberId sleeper_;
    bool fired_ = false;
};

// An interrupt line: raised by the model's device, handled in hardirq context.
class Interrupt : public Event {
public:
    template <class F>
    Interrupt(const char* irq_name, Racer racer, F function)
        : Event(irq_name, racer, Context::hardirq, function) {}
    void raise(Location where = Location::current()) { arm("raise", where); }
    // synchronize_irq.
    void synchronize(Location where = Location::current()) {
        might_sleep(where);
        wait_idle(where);
    }
};

// RCU: a grace period ends when every read section that was open at its start has been left.
void rcu_read_lock(Location where = Location::current());
void rcu_read_unlock(Location where = Location::current());
void synchronize_rcu(Location where = Location::current());

// An rcu_head: call_rcu() runs the function in softirq context after a grace period.
class RcuHead : public Cell {
public:
    template <class F> RcuHead(const char* head_name, Racer racer, F function) : Cell(head_name) {
        static_assert(std::is_trivially_destructible_v<F>);
        auto* const kept = new (exec->allocate(sizeof(F), alignof(F))) F(function);
        call_ = [](void* f) { (*static_cast<F*>(f))(); };
        function_ = kept;
        fiber_ = exec->spawn(head_name, racer, Context::softirq, &RcuHead::body, this, true);
    }
    void call(Location where = Location::current());

private:
    static void body(void* self);
    FiberId fiber_;
    bool called_ = false;
    bool ready_ = false;
    Clocks before_{};
    void (*call_)(void*) = nullptr;
    void* function_ = nullptr;
    friend struct Rcu;
};

} // namespace at::model
