#include "lib/events.hpp"

namespace at::model {

bool Event::arm(const char* verb, Location where) {
    exec->point(this, Access::write, verb, where);
    const bool was = armed_;
    armed_ = true;
    if (exec->live()) {
        exec->release(release);
        if (!running_)
            exec->enable(bit(fiber_));
    }
    return was;
}

bool Event::disarm(const char* verb, Location where) {
    exec->point(this, Access::write, verb, where);
    const bool was = armed_;
    armed_ = false;
    if (exec->live() && !running_) {
        exec->disable(bit(fiber_));
        exec->enable(done_waiters_);
    }
    return was;
}

void Event::wait_idle(Location where) {
    if (!exec->live())
        return;
    const Fiber& self = exec->self();
    if (self.id == fiber_)
        exec->fail("deadlock", std::string(self.name) + " waits for its own callback to end",
                   std::string(self.name) + ":waits-for-itself", where);
    idle_waiters_ |= bit(self.id);
    exec->point(this, Access::write, "waits for the end of", where, !running_);
    idle_waiters_ &= ~bit(self.id);
    exec->acquire(release);
}

void Event::wait_done(Location where) {
    if (!exec->live())
        return;
    const Fiber& self = exec->self();
    if (self.id == fiber_)
        exec->fail("deadlock", std::string(self.name) + " waits for its own callback to end",
                   std::string(self.name) + ":waits-for-itself", where);
    done_waiters_ |= bit(self.id);
    exec->point(this, Access::write, "waits for the end of", where, !running_ && !armed_);
    done_waiters_ &= ~bit(self.id);
    exec->acquire(release);
}

void Event::body(void* self) {
    auto& event = *static_cast<Event*>(self);
    for (;;) {
        exec->point(&event, Access::write, "fires", Location::current(), event.armed_);
        event.armed_ = false;
        event.running_ = true;
        exec->disable(event.idle_waiters_);
        exec->acquire(event.release);
        Fiber& self_fiber = exec->self();
        self_fiber.daemon = false; // idle for ever is no hang, stuck in a callback is
        event.call_(event.function_);
        self_fiber.daemon = true;
        // The structure may have been freed by its own callback: then nobody waits for it.
        if (event.owner != no_object && exec->object(event.owner).freed)
            return;
        event.running_ = false;
        exec->release(event.release);
        exec->enable(event.idle_waiters_);
        if (!event.armed_)
            exec->enable(event.done_waiters_);
    }
}

// Built when first needed. Readers commute with each other; grace periods order themselves
// against all.
struct Rcu {
    struct Grace {
        Mask readers;
        FiberId waiter;
        RcuHead* head;
    };
    static constexpr unsigned graces_max = 64;

    Cell cell{"rcu"};
    Clocks left_before{}; // what every section left so far has done: a grace period orders it
    Mask readers = 0;
    unsigned graces = 0;
    Grace grace[graces_max];

    static Rcu& get() {
        if (!exec->rcu)
            exec->rcu = new (exec->allocate(sizeof(Rcu), alignof(Rcu))) Rcu;
        return *static_cast<Rcu*>(exec->rcu);
    }
    void begin(FiberId waiter, RcuHead* head) {
        if (graces == graces_max)
            throw std::length_error("more than 64 grace periods in one schedule");
        grace[graces++] = {readers & ~bit(waiter), waiter, head};
    }
    void left(FiberId reader) {
        readers &= ~bit(reader);
        for (unsigned i = 0; i < graces; ++i) {
            if (!(grace[i].readers & bit(reader)))
                continue;
            grace[i].readers &= ~bit(reader);
            exec->order_after_self(exec->sleeper(grace[i].waiter));
            if (!grace[i].readers)
                over(grace[i]);
        }
    }
    static void over(const Grace& ended) {
        if (ended.head)
            ended.head->ready_ = true;
        exec->enable(bit(ended.waiter));
    }
};

void rcu_read_lock(Location where) {
    if (!exec->live() || exec->self().rcu_depth++)
        return;
    Rcu& rcu = Rcu::get();
    exec->point(&rcu.cell, Access::read, "rcu_read_lock", where);
    rcu.readers |= bit(exec->self().id);
    exec->acquire(rcu.cell.release);
}

void rcu_read_unlock(Location where) {
    if (!exec->live() || --exec->self().rcu_depth)
        return;
    Rcu& rcu = Rcu::get();
    exec->point(&rcu.cell, Access::read, "rcu_read_unlock", where);
    exec->release(rcu.left_before);
    rcu.left(exec->self().id);
}

void synchronize_rcu(Location where) {
    if (!exec->live())
        return;
    might_sleep(where);
    Rcu& rcu = Rcu::get();
    exec->point(&rcu.cell, Access::write, "synchronize_rcu", where);
    exec->release(rcu.cell.release);
    exec->acquire(rcu.left_before);
    if (!rcu.readers)
        return;
    Fiber& self = exec->self();
    rcu.begin(self.id, nullptr);
    self.waits_for = &rcu.cell;
    exec->point(nullptr, Access::none, "grace period", where, false);
    self.waits_for = nullptr;
}

void RcuHead::call(Location where) {
    Rcu& rcu = Rcu::get();
    exec->point(&rcu.cell, Access::write, "call_rcu", where);
    if (called_) {
        exec->fail("reference", std::string(name) + " given to call_rcu() twice",
                   std::string(name) + ":call_rcu-twice", where);
        return;
    }
    called_ = true;
    if (!exec->live()) {
        ready_ = true;
        return;
    }
    exec->release(rcu.cell.release);
    before_ = rcu.left_before;
    exec->order_after_self(exec->sleeper(fiber_));
    rcu.begin(fiber_, this);
    if (!rcu.readers)
        Rcu::over(rcu.grace[rcu.graces - 1]);
}

void RcuHead::body(void* self) {
    auto& head = *static_cast<RcuHead*>(self);
    exec->point(&Rcu::get().cell, Access::write, "rcu callback", Location::current(), head.ready_);
    exec->acquire(head.before_);
    exec->self().daemon = false;
    head.call_(head.function_);
}

} // namespace at::model
