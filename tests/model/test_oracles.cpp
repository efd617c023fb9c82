// Each oracle: a planted bug is found, under its signature; the correct twin is silent.
#include "searching.hpp"

using namespace at::model;

namespace {

using Signatures = std::vector<std::string>;

struct Shared {
    SpinLock lock{"lock"};
    SpinLock other{"other"};
    Mutex mutex{"mutex"};
    Atomic<int> flag{"flag"};
    Var<int> plain{"plain"};
    WaitQueue queue{"queue"};
    Completion done{"done"};
    Refs refs{"refs", "core"};
    ListNode head{"head"};
    ListNode node{"node"};
};
struct Thing {
    Var<int> field{"field"};
};

// Runs `body` as two tasks, "p" and "q", over one Shared; `right` picks the twin.
template <void (*body)(Shared&, bool second, bool right)> struct Pair {
    template <bool right> static void build(Setup& setup) {
        auto* const shared = create<Shared>("shared");
        setup.task("p", Racer::submitter, [=] { body(*shared, false, right); });
        setup.task("q", Racer::canceller, [=] { body(*shared, true, right); });
    }
    static Signatures wrong() { return signatures(exhaustive(build<false>)); }
    static Signatures right() { return signatures(exhaustive(build<true>)); }
};

void race(Shared& s, bool, bool right) {
    if (right)
        s.lock.lock();
    s.plain.add(1);
    if (right)
        s.lock.unlock();
}
void publish(Shared& s, bool second, bool right) {
    if (!second) {
        s.plain.set(7);
        right ? s.flag.write_release(1) : s.flag.write(1);
    } else if (s.flag.read_acquire()) {
        s.plain.get();
    }
}
void abba(Shared& s, bool second, bool right) {
    SpinLock& first = second && !right ? s.other : s.lock;
    SpinLock& then = second && !right ? s.lock : s.other;
    Locked a(first);
    Locked b(then);
}
void recursive(Shared& s, bool second, bool right) {
    if (second)
        return;
    s.lock.lock();
    if (!right)
        s.lock.lock();
    s.lock.unlock();
}
void sleeps(Shared& s, bool second, bool right) {
    if (second)
        return;
    if (!right)
        s.lock.lock();
    s.mutex.lock();
    s.mutex.unlock();
    if (!right)
        s.lock.unlock();
}
void lost(Shared& s, bool second, bool right) {
    if (second) {
        if (!right)
            s.queue.wake_up();
        s.flag.write_release(1);
        if (right)
            s.queue.wake_up();
    } else {
        s.queue.wait_event([&] { return s.flag.read_acquire() == 1; },
                           [&] { return s.flag.peek() == 1; });
    }
}
void spins(Shared& s, bool second, bool right) {
    if (second)
        s.flag.write(right ? 1 : 2);
    else
        while (s.flag.read() != 1)
            cpu_relax();
}
void never_ends(Shared& s, bool second, bool right) {
    if (second)
        return;
    for (int i = 0; right ? i < 10 : true; ++i)
        s.flag.fetch_add(1);
}
void waits(Shared& s, bool second, bool right) {
    if (second)
        s.done.wait();
    else if (right)
        s.done.complete();
}
void over_put(Shared& s, bool second, bool right) {
    if (!second)
        s.refs.put("core");
    else if (!right)
        s.refs.put("engine");
}
void double_del(Shared& s, bool second, bool right) {
    if (!second) {
        s.lock.lock();
        s.head.add(s.node);
        s.node.del();
        s.lock.unlock();
        s.flag.write_release(1);
    } else if (!right && s.flag.read_acquire()) {
        s.node.del();
    }
}
void unbalanced(Shared& s, bool second, bool right) {
    if (second)
        return;
    s.lock.lock_irq();
    if (right)
        s.lock.unlock_irq();
    else
        s.lock.unlock();
}

template <bool right> void irq_lock(Setup& setup) {
    auto* const shared = create<Shared>("shared");
    setup.irq("irq", Racer::device, [=] {
        shared->lock.lock();
        shared->lock.unlock();
    });
    setup.task("p", Racer::submitter, [=] {
        right ? shared->lock.lock_irq() : shared->lock.lock();
        right ? shared->lock.unlock_irq() : shared->lock.unlock();
    });
}
template <bool right> void use_after_free(Setup& setup) {
    auto* const shared = create<Shared>("shared");
    auto* const thing = create<Thing>("thing");
    setup.task("p", Racer::submitter, [=] {
        thing->field.get();
        shared->done.complete();
    });
    setup.task("q", Racer::destroyer, [=] {
        if (right)
            shared->done.wait();
        destroy(thing);
    });
}
template <bool right> void double_free(Setup& setup) {
    auto* const shared = create<Shared>("shared");
    auto* const thing = create<Thing>("thing");
    for (const char* name : {"p", "q"})
        setup.task(name, Racer::submitter, [=] {
            if (shared->flag.cmpxchg(0, right ? 1 : 0) == 0)
                destroy(thing);
        });
}
template <bool right> void timer_freed(Setup& setup) {
    struct Armed {
        Timer timer{"timer", Racer::device, [] {}};
        Var<int> field{"field"};
    };
    auto* const armed = create<Armed>("armed");
    setup.task("p", Racer::submitter, [=] {
        armed->timer.mod();
        right ? armed->timer.del_sync() : armed->timer.del();
        destroy(armed);
    });
}
template <bool right> void rcu_freed(Setup& setup) {
    auto* const shared = create<Shared>("shared");
    auto* const thing = create<Thing>("thing");
    setup.task("reader", Racer::submitter, [=] {
        rcu_read_lock();
        if (shared->flag.read_acquire() == 0)
            thing->field.get();
        rcu_read_unlock();
    });
    setup.task("freer", Racer::destroyer, [=] {
        shared->flag.write_release(1);
        if (right)
            synchronize_rcu();
        destroy(thing);
    });
}
template <bool right> void rcu_callback(Setup& setup) {
    auto* const shared = create<Shared>("shared");
    auto* const thing = create<Thing>("thing");
    auto* const head =
        create<RcuHead>("head", "free_rcu", Racer::destroyer, [=] { destroy(thing); });
    setup.task("reader", Racer::submitter, [=] {
        if (right)
            rcu_read_lock();
        if (shared->flag.read_acquire() == 0)
            thing->field.get();
        if (right)
            rcu_read_unlock();
    });
    setup.task("freer", Racer::destroyer, [=] {
        shared->flag.write_release(1);
        head->call();
    });
}
template <bool right> void completes_twice(Setup& setup) {
    auto* const ledger = create<Ledger>("ledger", contract_today);
    auto* const shared = create<Shared>("shared");
    const auto r0 = ledger->submitted("r0");
    for (const char* name : {"p", "q"})
        setup.task(name, Racer::submitter, [=] {
            if (right ? shared->flag.xchg(1) == 0 : shared->flag.read() == 0) {
                ledger->event(r0, 0);
                shared->flag.write(1);
            }
        });
    setup.at_end([=] { ledger->check(); });
}
template <bool right> void unanswered(Setup& setup) {
    auto* const ledger = create<Ledger>("ledger", right ? contract_2_6_33 : contract_today);
    const auto r0 = ledger->submitted("r0");
    setup.task("p", Racer::canceller, [=] { ledger->cancelled(r0); });
    setup.at_end([=] { ledger->check(); });
}
template <bool right> void allocation(Setup& setup) {
    setup.task("p", Racer::submitter, [=] {
        auto* const thing = try_create<Thing>("thing", Gfp::kernel);
        require(thing || right, "contract", "p:no-memory", "p cannot go on without memory");
        outcome("%s", thing ? "had" : "had not");
    });
}

} // namespace

#define BOTH(body, ...)                                                                            \
    CHECK(Pair<body>::wrong() == Signatures{__VA_ARGS__});                                         \
    CHECK(Pair<body>::right() == Signatures{})
#define BOTH_BUILDS(build, ...)                                                                    \
    CHECK(signatures(exhaustive(build<false>)) == Signatures{__VA_ARGS__});                        \
    CHECK(signatures(exhaustive(build<true>)) == Signatures{})

TEST_CASE("data race") {
    BOTH(race, "data-race:shared.plain");
    BOTH(publish, "data-race:shared.plain");
}
TEST_CASE("deadlock") {
    BOTH(abba, "deadlock:p>other,q>lock");
    BOTH(recursive, "deadlock:p:lock:recursive");
    BOTH(waits, "deadlock:q>done");
}
TEST_CASE("lost wake-up") {
    BOTH(lost, "lost-wakeup:p>queue");
}
TEST_CASE("livelock") {
    BOTH(spins, "livelock:p>flag");
    BOTH(never_ends, "livelock:p");
}
TEST_CASE("context") {
    BOTH(sleeps, "context:p:sleeps");
    BOTH(unbalanced, "context:p:ends-atomic");
    BOTH_BUILDS(irq_lock, "context:shared.lock:irq-unsafe");
}
TEST_CASE("references") {
    BOTH(over_put, "reference:refs:engine:below-zero", "reference:refs:engine:not-held");
}
TEST_CASE("list") {
    BOTH(double_del, "list:node:double-del");
}
TEST_CASE("use after free") {
    BOTH_BUILDS(use_after_free, "use-after-free:thing");
    BOTH_BUILDS(timer_freed, "use-after-free:armed");
    BOTH_BUILDS(rcu_freed, "use-after-free:thing");
    BOTH_BUILDS(rcu_callback, "use-after-free:thing");
}
TEST_CASE("double free") {
    BOTH_BUILDS(double_free, "double-free:thing");
}
TEST_CASE("ledger") {
    BOTH_BUILDS(completes_twice, "ledger:r0:double-completion");
    BOTH_BUILDS(unanswered, "ledger:r0:no-event");
}
TEST_CASE("allocation failure is a choice") {
    BOTH_BUILDS(allocation, "contract:p:no-memory");
    CHECK(exhaustive(allocation<true>).outcomes.size() == 2);
}
