#include "lib/sync.hpp"

namespace at::model {

namespace {
std::string full_name(ObjectId owner, const char* field) {
    return owner == no_object ? std::string(field)
                              : std::string(exec->object(owner).name) + "." + field;
}
std::string context_of(const Fiber& self) {
    std::string text = self.running == Context::hardirq   ? "an interrupt"
                       : self.running == Context::softirq ? "a softirq"
                                                          : "a task";
    if (self.irqs_off)
        text += " with interrupts off";
    else if (self.preempt_count)
        text += " under a spinlock";
    return text;
}
} // namespace

void report_race(ObjectId owner, const char* field, FiberId other, const char* verb,
                 Location where) {
    const std::string name = full_name(owner, field);
    exec->found("data-race",
                name + " " + verb + " by " + exec->self().name + " and accessed by " +
                    exec->fiber(other).name + " with nothing that orders them",
                name, where);
}

void use(const void* object, const char* field, Location where) {
    if (exec->live())
        exec->touch(exec->owner_of(object), field, where);
}

void might_sleep(Location where) {
    const Fiber& self = exec->self();
    if (!exec->live() || (self.running == Context::task && !self.preempt_count && !self.irqs_off &&
                          !self.bh_off && !self.rcu_depth))
        return;
    exec->fail("context",
               std::string(self.name) + " may sleep in " + context_of(self) +
                   (self.rcu_depth ? " in an RCU read section" : ""),
               std::string(self.name) + ":sleeps", where);
}

// The kernel's lockdep states IN-HARDIRQ and HARDIRQ-ON (and those of softirq) of one lock: both
// seen means that the interrupt can find the lock held on its own CPU.
void SpinLock::judge_context(Location where) {
    const Fiber& self = exec->self();
    if (self.running == Context::hardirq)
        in_hardirq_ = true;
    else if (!self.irqs_off)
        with_irqs_on_ = true;
    if (self.running == Context::softirq)
        in_softirq_ = true;
    else if (self.running == Context::task && !self.irqs_off && !self.bh_off)
        with_bh_on_ = true;
    if (in_hardirq_ && with_irqs_on_)
        exec->fail("context",
                   full_name(owner, name) +
                       " is taken in an interrupt, and elsewhere with interrupts on",
                   full_name(owner, name) + ":irq-unsafe", where);
    if (in_softirq_ && with_bh_on_)
        exec->fail("context",
                   full_name(owner, name) +
                       " is taken in a softirq, and elsewhere with softirqs on",
                   full_name(owner, name) + ":softirq-unsafe", where);
}

void SpinLock::take(const char* verb, Location where) {
    if (!exec->live())
        return;
    Fiber& self = exec->self();
    if (owner_ == self.id) {
        exec->fail("deadlock",
                   std::string(self.name) + " takes " + full_name(owner, name) + ", which it holds",
                   std::string(self.name) + ":" + name + ":recursive", where);
    }
    waiters_ |= bit(self.id);
    ++self.preempt_count;
    exec->point(this, Access::write, verb, where, owner_ == no_fiber);
    waiters_ &= ~bit(self.id);
    judge_context(where);
    owner_ = self.id;
    exec->disable(waiters_);
    exec->acquire(release);
}

bool SpinLock::trylock(Location where) {
    if (!exec->live())
        return true;
    exec->point(this, Access::write, "spin_trylock", where);
    if (owner_ != no_fiber)
        return false;
    judge_context(where);
    Fiber& self = exec->self();
    ++self.preempt_count;
    owner_ = self.id;
    exec->disable(waiters_);
    exec->acquire(release);
    return true;
}

void SpinLock::give(Location where) {
    if (!exec->live())
        return;
    Fiber& self = exec->self();
    exec->touch(owner, name, where);
    if (owner_ != self.id)
        exec->fail("context",
                   std::string(self.name) + " unlocks " + full_name(owner, name) +
                       ", which it does not hold",
                   std::string(self.name) + ":" + name + ":not-held", where);
    owner_ = no_fiber;
    --self.preempt_count;
    exec->release(release);
    exec->enable(waiters_);
    if (exec->recording())
        exec->remark(where, "unlock %s", name);
}

void SpinLock::irqs_enable(Location where) {
    Fiber& self = exec->self();
    if (exec->live() && self.irqs_off == 0)
        exec->fail("context", std::string(self.name) + " enables interrupts that were not off",
                   std::string(self.name) + ":irqs-enabled", where);
    if (self.irqs_off)
        --self.irqs_off;
}

void Mutex::lock(Location where) {
    if (!exec->live())
        return;
    might_sleep(where);
    Fiber& self = exec->self();
    if (owner_ == self.id)
        exec->fail("deadlock",
                   std::string(self.name) + " takes " + full_name(owner, name) + ", which it holds",
                   std::string(self.name) + ":" + name + ":recursive", where);
    waiters_ |= bit(self.id);
    exec->point(this, Access::write, "mutex_lock", where, owner_ == no_fiber);
    waiters_ &= ~bit(self.id);
    owner_ = self.id;
    exec->disable(waiters_);
    exec->acquire(release);
}

void Mutex::unlock(Location where) {
    if (!exec->live())
        return;
    exec->touch(owner, name, where);
    owner_ = no_fiber;
    exec->release(release);
    exec->enable(waiters_);
    if (exec->recording())
        exec->remark(where, "unlock %s", name);
}

void WaitQueue::prepare_to_wait(Location where) {
    if (!exec->live())
        return;
    exec->point(this, Access::write, "prepare_to_wait", where);
    Fiber& self = exec->self();
    exec->acquire(release);
    sleepers_ |= bit(self.id);
    self.sleeping = true;
}

void WaitQueue::schedule(Location where) {
    if (!exec->live())
        return;
    might_sleep(where);
    Fiber& self = exec->self();
    if (!self.sleeping)
        return;
    self.waits_for = this;
    exec->point(nullptr, Access::none, "schedule", where, false);
    self.waits_for = nullptr;
}

void WaitQueue::finish_wait(Location where) {
    if (!exec->live())
        return;
    exec->point(this, Access::write, "finish_wait", where);
    sleepers_ &= ~bit(exec->self().id);
    exec->self().sleeping = false;
}

bool WaitQueue::wake_up(Location where) {
    if (!exec->live())
        return false;
    exec->point(this, Access::write, "wake_up", where);
    exec->release(release);
    const bool any = sleepers_ != 0;
    for (Mask set = sleepers_; set; set &= set - 1) {
        const auto id = static_cast<FiberId>(__builtin_ctz(set));
        Fiber& sleeper = exec->sleeper(id);
        if (!sleeper.sleeping)
            continue;
        sleeper.sleeping = false;
        exec->order_after_self(sleeper);
        if (sleeper.waits_for == this)
            exec->enable(bit(id));
    }
    return any;
}

void Completion::complete(Location where) {
    if (!exec->live()) {
        ++done_;
        return;
    }
    exec->point(this, Access::write, "complete", where);
    ++done_;
    exec->release(release);
    exec->enable(waiters_);
}

void Completion::complete_all(Location where) {
    exec->point(this, Access::write, "complete_all", where);
    done_ = ~0u / 2;
    if (exec->live()) {
        exec->release(release);
        exec->enable(waiters_);
    }
}

void Completion::wait(Location where) {
    if (!exec->live())
        return;
    might_sleep(where);
    waiters_ |= bit(exec->self().id);
    exec->point(this, Access::write, "wait_for_completion", where, done_ > 0);
    waiters_ &= ~bit(exec->self().id);
    take();
}

void Completion::take() {
    if (done_ < ~0u / 2)
        --done_;
    if (!done_)
        exec->disable(waiters_);
    exec->acquire(release);
}

} // namespace at::model
