// Kent Overstreet, "[PATCH 18/21] aio: Allow cancellation without a cancel callback, new kiocb
// lookup", 13 May 2013, on 3.9-mm. Never merged: kernels kept the list and ctx_lock.
//
// Invariant: each request accepted sends exactly one event, io_cancel() or not; what io_cancel()
// looked up is what it cancels; after aio_complete() has returned no cancel callback runs; each
// tag comes back.
//
//   ki_cancel of one kiocb, as posted:
//
//     CANCELLED --publish--> NULL --kiocb_set_cancel_fn--> fn
//         ^                    |  kiocb_cancel               |  kiocb_cancel
//         |                    v                             v
//         +---- complete ---- CANCELLED <--- callback over -- CANCELLING: completion spins
//
// Functions and fields have the patch's names. Ten mistakes can be switched one by one; each is
// the text's own line beside the corrected one. The corrected form adds KIOCB_COMPLETED (the text
// says CANCELLED for "cancelled" and for "completed or free") and ki_users, by which io_cancel()
// holds what it has looked up.
//
// Scaled down: 4 kiocbs a page, 2 to 4 events, 2 CPUs, tags moved one at a time; reqs_available
// without its per-CPU batches.
#include "lib/core.hpp"

#include <cerrno>

namespace at::model {

namespace {

constexpr unsigned KIOCBS_PER_PAGE = 4; // PAGE_SIZE / sizeof(struct kiocb)
constexpr unsigned nr_cpus = 2;
constexpr unsigned nr_events_max = 4;
constexpr unsigned pages_max = 1;
constexpr unsigned watermark = 1; // tags moved at a time: nr_tags / (num_possible_cpus() * 4)

// Values of ki_cancel; 1 and 2 stand for driver functions.
constexpr int no_cancel_fn = 0;
constexpr int KIOCB_CANCELLED = -1;
constexpr int KIOCB_CANCELLING = -2;
constexpr int KIOCB_COMPLETED = -3; // the corrected form's: completed, or not yet a request

using Mistakes = unsigned;
enum Mistake : unsigned {
    stores_cancelling = 1u << 0,     // kiocb_cancel: cmpxchg(.., KIOCB_CANCELLING) for `new`
    key_bound = 1u << 1,             // lookup_kiocb: key > ctx->nr_events
    tag_lost = 1u << 2,              // aio_get_req: err: without tag_free()
    lookup_not_held = 1u << 3,       // io_cancel: nothing holds the kiocb between lookup and cancel
    overwrites_cancelling = 1u << 4, // kiocb_set_cancel_fn: CANCELLING is any other value
    calls_outside = 1u << 5,         // kiocb_set_cancel_fn: cancel(req) without CANCELLING
    false_while_cancelling = 1u << 6, // kiocb_cancelled: == KIOCB_CANCELLED
    refused_cancellable = 1u << 7,    // io_submit_one: out_put_req leaves ki_cancel NULL
    freed_after_rcu = 1u << 8,        // batch_complete_aio: kiocb_free() after rcu_read_unlock()
    pool_lock_kept = 1u << 9,         // tag_alloc: fail: with pool->lock held
};
constexpr Mistakes as_posted = (1u << 10) - 1;

enum class Case : unsigned {
    plain,      // a request without a callback: device, io_cancel
    bound,      // io_cancel with aio_key nr_events; nr_events is a multiple of KIOCBS_PER_PAGE
    page,       // two submitters, one page to allocate, which may fail
    reuse,      // io_cancel(A) while A completes and its id goes to B
    reuse_iocb, // the same, and B is submitted from the memory of A
    set_twice,  // a driver that sets its function again for a second stage
    set_late,   // io_cancel before kiocb_set_cancel_fn
    observe,    // a thread that looks at kiocb_cancelled(); the device is stuck
    refused,    // aio_run_iocb() fails
    teardown,   // free_ioctx() against completion
    exhausted,  // tags stranded on another CPU
};

struct Kioctx;

struct Priv { // what kiocb->private points to; freed after aio_complete(), as the text asks
    Var<int> cancelled{"cancelled", 0};
};

struct Kiocb {
    Var<Kioctx*> ki_ctx{"ki_ctx", nullptr};
    Var<Priv*> priv{"private", nullptr};
    Atomic<int> ki_cancel{"ki_cancel", KIOCB_CANCELLED};
    Atomic<int> ki_obj_user{"ki_obj.user", 0}; // read without a lock
    Atomic<int> ki_users{"ki_users", 0};       // the corrected form's
    unsigned ki_id = 0;                        // constant once the page is published
    Ledger::Request request = 0;               // the books: written with ki_obj.user
};

struct Page {
    Kiocb kiocb[KIOCBS_PER_PAGE];
};

struct TagCpuFreelist {
    SpinLock local_irq{"local_irq"}; // stands for preempt_disable and local_irq_save on this CPU
    Var<unsigned> nr_free{"nr_free", 0};
    Var<unsigned> free[nr_events_max] = {Var<unsigned>{"free"}, Var<unsigned>{"free"},
                                         Var<unsigned>{"free"}, Var<unsigned>{"free"}};
};

struct TagPool {
    SpinLock lock{"pool->lock"};
    Var<unsigned> nr_free{"nr_free", 0};
    Var<unsigned> free[nr_events_max] = {Var<unsigned>{"free"}, Var<unsigned>{"free"},
                                         Var<unsigned>{"free"}, Var<unsigned>{"free"}};
    TagCpuFreelist tag_cpu[nr_cpus];
};

void free_ioctx_rcu(Kioctx& ctx);

struct Kioctx {
    explicit Kioctx(unsigned events, Mistakes text)
        : nr_events(events), nr_pages((events + KIOCBS_PER_PAGE - 1) / KIOCBS_PER_PAGE),
          mistakes(text), reqs_available("reqs_available", int(events) - 1) {}

    const unsigned nr_events;
    const unsigned nr_pages;
    const Mistakes mistakes;
    TagPool kiocb_tags;
    Atomic<Page*> kiocb_pages[pages_max] = {Atomic<Page*>{"kiocb_pages", nullptr}};
    Refs users{"users", "table"};
    Atomic<int> reqs_available;
    SpinLock completion_lock{"completion_lock"};
    Atomic<int> tail{"ring->tail", 0};
    Atomic<int> head{"ring->head", 0};
    WaitQueue wait{"wait"};
    RcuHead rcu_head{"free_ioctx_rcu", Racer::destroyer, [this] { free_ioctx_rcu(*this); }};
};

struct World {
    explicit World(Case c, Mistakes text) : which(c), mistakes(text) {}

    const Case which;
    const Mistakes mistakes;
    Kioctx* ctx = nullptr;
    Ledger* ledger = nullptr;
    Ledger::Request r0 = 0, r1 = 0;
    unsigned device_cpu = 0;
    SpinLock ioctx_lock{"mm->ioctx_lock"};
    Var<bool> dead{"ctx is dead", false}; // under mm->ioctx_lock
    // User memory: aio_key of the iocbs A (1) and B (2).
    Atomic<int> aio_key[3] = {Atomic<int>{"aio_key", 0}, Atomic<int>{"aio_key", 0},
                              Atomic<int>{"aio_key", 0}};
    Atomic<int> refused{"io_submit failed", 0};
    // The device.
    Var<Kiocb*> hw_req{"hw_req", nullptr};
    Atomic<int> hw_owns{"hw_owns", 0}; // who takes the request from 1 to 0 completes it
    Completion queued{"queued"};
    WaitQueue thread_wait{"thread_wait"};
    Interrupt* irq = nullptr;
    Work* work = nullptr;

    bool has(Mistake m) const { return mistakes & m; }
    // What a completed or unused kiocb holds in ki_cancel.
    int completed() const { return mistakes == as_posted ? KIOCB_CANCELLED : KIOCB_COMPLETED; }
};

// --- lib/tags.c of the same series (17/21)

void move_tag(Var<unsigned>* dst, Var<unsigned>& dst_nr, Var<unsigned>* src,
              Var<unsigned>& src_nr) {
    const unsigned left = src_nr.add(-watermark);
    dst[dst_nr.get()].set(src[left].get());
    dst_nr.add(watermark);
}

// 0 when there is none: tag 0 is never handed out (tag_pool_init fills from 1).
unsigned tag_alloc(TagPool& pool, unsigned cpu, bool keeps_lock) {
    TagCpuFreelist& tags = pool.tag_cpu[cpu];
    tags.local_irq.lock_irqsave();
    while (!tags.nr_free.get()) {
        pool.lock.lock();
        if (pool.nr_free.get()) {
            move_tag(tags.free, tags.nr_free, pool.free, pool.nr_free);
        } else {
            if (!keeps_lock)
                pool.lock.unlock();
            tags.local_irq.unlock_irqrestore();
            return 0;
        }
        pool.lock.unlock();
    }
    const unsigned tag = tags.free[tags.nr_free.add(-1u)].get();
    tags.local_irq.unlock_irqrestore();
    return tag;
}

void tag_free(TagPool& pool, unsigned tag, unsigned cpu) {
    TagCpuFreelist& tags = pool.tag_cpu[cpu];
    tags.local_irq.lock_irqsave();
    tags.free[tags.nr_free.get()].set(tag);
    if (tags.nr_free.add(1) == watermark * 2) {
        pool.lock.lock();
        move_tag(pool.free, pool.nr_free, tags.free, tags.nr_free);
        pool.lock.unlock();
    }
    tags.local_irq.unlock_irqrestore();
}

unsigned tags_at_home(const TagPool& pool) {
    unsigned n = pool.nr_free.get();
    for (const TagCpuFreelist& tags : pool.tag_cpu)
        n += tags.nr_free.get();
    return n;
}

// --- kiocbs by id

Kiocb* kiocb_from_id(Kioctx& ctx, unsigned id) {
    const unsigned page_nr = id / KIOCBS_PER_PAGE;
    if (page_nr >= ctx.nr_pages) {
        exec->fail("out-of-bounds", "kiocb_pages is read beyond its last entry", "kiocb_pages",
                   Location::current());
        return nullptr;
    }
    Page* const p = ctx.kiocb_pages[page_nr].read_acquire();
    return p ? &p->kiocb[id % KIOCBS_PER_PAGE] : nullptr;
}

void put_reqs_available(Kioctx& ctx) {
    ctx.reqs_available.fetch_add(1);
}

bool get_reqs_available(Kioctx& ctx) {
    return ctx.reqs_available.modify(
               "get_reqs_available",
               [](int old) { return old > 0 ? std::optional<int>(old - 1) : std::nullopt; },
               Location::current()) > 0;
}

void kiocb_free(World& w, Kiocb& req, unsigned cpu) {
    Kioctx& ctx = *req.ki_ctx.get();
    if (w.has(lookup_not_held) || req.ki_users.dec_and_test())
        tag_free(ctx.kiocb_tags, req.ki_id, cpu);
}

Kiocb* aio_get_req(World& w, unsigned cpu) {
    Kioctx& ctx = *w.ctx;
    if (!get_reqs_available(ctx))
        return nullptr;
    const unsigned id = tag_alloc(ctx.kiocb_tags, cpu, w.has(pool_lock_kept));
    if (!id) {
        put_reqs_available(ctx);
        return nullptr;
    }
    Kiocb* req = kiocb_from_id(ctx, id);
    if (!req) {
        const unsigned page_nr = id / KIOCBS_PER_PAGE;
        Page* const p =
            w.which == Case::page ? try_create<Page>("page", Gfp::kernel) : create<Page>("page");
        if (!p) {
            if (!w.has(tag_lost))
                tag_free(ctx.kiocb_tags, id, cpu);
            put_reqs_available(ctx);
            return nullptr;
        }
        for (unsigned i = 0; i < KIOCBS_PER_PAGE; ++i) {
            p->kiocb[i].ki_cancel.initialise(w.completed());
            p->kiocb[i].ki_id = page_nr * KIOCBS_PER_PAGE + i;
        }
        if (ctx.kiocb_pages[page_nr].cmpxchg(nullptr, p) != nullptr)
            destroy(p);
    }
    req = kiocb_from_id(ctx, id);
    // memset() up to ki_cancel: that stays as it was left.
    req->priv.set(nullptr);
    req->ki_ctx.set(&ctx);
    return req;
}

// --- cancellation

// The driver's callback. It takes the request from the hardware and has a work item complete it;
// ki_cancel() may not call aio_complete(). The thread of Case::observe is woken instead.
void ep_cancel(World& w, Kiocb& req) {
    Priv* const priv = req.priv.get();
    if (w.which == Case::observe) {
        priv->cancelled.set(1);
        w.thread_wait.wake_up();
        return;
    }
    if (w.hw_owns.xchg(0) == 0)
        return;
    w.work->schedule();
    priv->cancelled.set(1); // still its own: aio_complete() has to wait for the callback
}

void judge_forgotten(int replaced) {
    if (replaced == KIOCB_CANCELLING)
        exec->found("contract",
                    "kiocb_set_cancel_fn of a request under cancellation forgets it: the function "
                    "set is neither called nor is ki_cancel left KIOCB_CANCELLED",
                    "r0:cancel-forgotten", Location::current());
}

void kiocb_set_cancel_fn(World& w, Kiocb& req, int cancel) {
    if (!w.has(overwrites_cancelling) || !w.has(calls_outside)) {
        int old = req.ki_cancel.read();
        for (;;) {
            if (old == KIOCB_CANCELLING && !w.has(overwrites_cancelling)) {
                cpu_relax();
                old = req.ki_cancel.read();
                continue;
            }
            if (old == KIOCB_COMPLETED)
                return;
            if (old == KIOCB_CANCELLED && w.has(calls_outside)) {
                ep_cancel(w, req);
                return;
            }
            const int next = old == KIOCB_CANCELLED ? KIOCB_CANCELLING : cancel;
            const int was = req.ki_cancel.cmpxchg(old, next);
            if (was == old)
                break;
            old = was;
        }
        judge_forgotten(old);
        if (old == KIOCB_CANCELLED) {
            ep_cancel(w, req);
            req.ki_cancel.write_release(KIOCB_CANCELLED);
        }
        return;
    }
    int p, old = req.ki_cancel.read();
    do {
        if (old == KIOCB_CANCELLED) {
            ep_cancel(w, req);
            return;
        }
        p = old;
        old = req.ki_cancel.cmpxchg(old, cancel);
    } while (old != p);
    judge_forgotten(p);
}

bool kiocb_cancelled(World& w, Kiocb& req) {
    const int cancel = req.ki_cancel.read();
    return cancel == KIOCB_CANCELLED ||
           (cancel == KIOCB_CANCELLING && !w.has(false_while_cancelling));
}

// False when there was nothing to cancel; the text's returns nothing.
bool kiocb_cancel(World& w, Kiocb& req, const Ledger::Request* meant) {
    int cancel = req.ki_cancel.read(), old;
    bool cancelled = true;
    SpinLock::irqs_disable(); // local_irq_disable()
    do {
        if (cancel == KIOCB_CANCELLING || cancel == KIOCB_CANCELLED || cancel == KIOCB_COMPLETED) {
            cancelled = cancel != KIOCB_COMPLETED;
            SpinLock::irqs_enable();
            return cancelled;
        }
        old = cancel;
        const int next = cancel ? KIOCB_CANCELLING : KIOCB_CANCELLED;
        cancel = req.ki_cancel.cmpxchg(old, w.has(stores_cancelling) ? KIOCB_CANCELLING : next);
    } while (old != cancel);
    if (meant && req.request != *meant)
        exec->found("contract", "io_cancel looked r0 up and cancelled r1, which got its id",
                    "r1:cancelled-unasked", Location::current());
    if (cancel) {
        ep_cancel(w, req);
        req.ki_cancel.write_release(KIOCB_CANCELLED); // smp_wmb()
    }
    SpinLock::irqs_enable();
    return cancelled;
}

Kiocb* lookup_kiocb(World& w, int iocb, unsigned key) {
    Kioctx& ctx = *w.ctx;
    if (w.has(key_bound) ? key > ctx.nr_events : key >= ctx.nr_events)
        return nullptr;
    Kiocb* const req = kiocb_from_id(ctx, key);
    if (!req)
        return nullptr;
    if (w.has(lookup_not_held))
        return req->ki_obj_user.read() == iocb ? req : nullptr;
    // atomic_inc_not_zero(): from here on the id cannot be given to another request.
    if (req->ki_users.modify(
            "inc_not_zero",
            [](int old) { return old ? std::optional<int>(old + 1) : std::nullopt; },
            Location::current()) == 0)
        return nullptr;
    if (req->ki_obj_user.read() == iocb)
        return req;
    kiocb_free(w, *req, 1);
    return nullptr;
}

long io_cancel(World& w, int iocb) {
    constexpr unsigned cpu = 1;
    const bool refused_before = w.refused.read_acquire();
    const auto key = static_cast<unsigned>(w.aio_key[iocb].read()); // get_user()
    Kiocb* const req = lookup_kiocb(w, iocb, key);
    if (!req)
        return -EINVAL;
    const Ledger::Request meant = req->request; // the books, in the step that read ki_obj.user
    const bool cancelled = kiocb_cancel(w, *req, &meant);
    if (!w.has(lookup_not_held))
        kiocb_free(w, *req, cpu);
    if (refused_before && (cancelled || w.has(refused_cancellable)))
        exec->found("contract",
                    "io_cancel answers -EINPROGRESS for a request that io_submit had refused",
                    "r0:in-progress-after-refusal", Location::current());
    return cancelled ? -EINPROGRESS : -EINVAL;
}

// --- completion

// Ends the request's time as something to cancel.
void mark_completed(World& w, Kiocb& req) {
    if (!w.has(overwrites_cancelling)) {
        int cancel = req.ki_cancel.read();
        for (;;) {
            if (cancel == KIOCB_CANCELLING) {
                cpu_relax();
                cancel = req.ki_cancel.read();
                continue;
            }
            const int was = req.ki_cancel.cmpxchg(cancel, w.completed());
            if (was == cancel)
                return;
            cancel = was;
        }
    }
    int old = no_cancel_fn, cancel = req.ki_cancel.read();
    do {
        if (cancel == KIOCB_CANCELLING) {
            cpu_relax();
            cancel = req.ki_cancel.read();
            continue; // goes to the condition, where `old` is still from before
        }
        old = cancel;
        cancel = req.ki_cancel.cmpxchg(old, w.completed());
    } while (old != cancel);
}

void aio_complete(World& w, Kiocb& req, long res, unsigned cpu) {
    mark_completed(w, req);
    rcu_read_lock();
    Kioctx& ctx = *req.ki_ctx.get();
    const Ledger::Request request = req.request;
    ctx.completion_lock.lock_irqsave();
    w.ledger->event(request, res);
    ctx.tail.write_release(ctx.tail.peek() + 1);
    ctx.completion_lock.unlock_irqrestore();
    if (!w.has(freed_after_rcu))
        kiocb_free(w, req, cpu);
    ctx.wait.wake_up();
    rcu_read_unlock();
    if (w.has(freed_after_rcu))
        kiocb_free(w, req, cpu);
}

// --- the context

void free_ioctx_rcu(Kioctx& ctx) {
    for (unsigned i = 0; i < ctx.nr_pages; ++i)
        if (Page* const p = ctx.kiocb_pages[i].read_acquire())
            destroy(p);
    destroy(&ctx);
}

void free_ioctx(World& w) {
    Kioctx& ctx = *w.ctx;
    for (unsigned i = 0; i < ctx.nr_events; ++i)
        if (Kiocb* const req = kiocb_from_id(ctx, i))
            kiocb_cancel(w, *req, nullptr);
    const auto all_back = [&ctx](int tail) {
        return ctx.reqs_available.peek() + tail - ctx.head.peek() >= int(ctx.nr_events) - 1;
    };
    ctx.wait.wait_event(
        [&] {
            const int tail = ctx.tail.read_acquire();
            return all_back(tail);
        },
        [&] { return all_back(ctx.tail.peek()); });
    ctx.rcu_head.call();
}

bool lookup_ioctx(World& w, const char* holder) {
    Locked guard(w.ioctx_lock);
    if (w.dead.get())
        return false;
    w.ctx->users.get(holder);
    return true;
}

void put_ioctx(World& w, const char* holder) {
    if (w.ctx->users.put(holder))
        free_ioctx(w);
}

void kill_ioctx(World& w) {
    {
        Locked guard(w.ioctx_lock);
        w.dead.set(true);
    }
    put_ioctx(w, "table");
}

// --- submission

// The driver's aio_read().
long aio_run_iocb(World& w, Kiocb& req, unsigned cpu) {
    switch (w.which) {
    case Case::page:
        aio_complete(w, req, 0, cpu); // not -EIOCBQUEUED: done at once
        return 0;
    case Case::refused:
        return -EINVAL; // no such operation
    case Case::set_twice:
    case Case::set_late:
        req.priv.set(create<Priv>("priv"));
        w.hw_req.set(&req);
        w.hw_owns.write_release(1);
        kiocb_set_cancel_fn(w, req, 1);
        if (w.which == Case::set_twice)
            kiocb_set_cancel_fn(w, req, 1); // the second stage's
        w.irq->raise();
        return 0;
    case Case::observe:
        req.priv.set(create<Priv>("priv"));
        w.hw_req.set(&req);
        kiocb_set_cancel_fn(w, req, 1);
        w.queued.complete_all();
        return 0;
    default:
        w.hw_req.set(&req);
        w.hw_owns.write_release(1);
        w.irq->raise();
        return 0;
    }
}

long io_submit_one(World& w, Ledger::Request request, int iocb, unsigned cpu) {
    Kiocb* const req = aio_get_req(w, cpu);
    if (!req) {
        w.ledger->refused(request);
        return -EAGAIN;
    }
    w.aio_key[iocb].write(int(req->ki_id)); // put_user()
    req->ki_obj_user.write(iocb);
    req->request = request;
    // Not before ki_obj.user is this request's: the last one's pointer is still there, and
    // io_cancel() would hold the new request for the old pointer's sake.
    if (!w.has(lookup_not_held))
        req->ki_users.write_release(1);
    req->ki_cancel.write_release(no_cancel_fn); // smp_wmb()
    const long ret = aio_run_iocb(w, *req, cpu);
    if (!ret)
        return 0;
    w.ledger->refused(request);
    if (!w.has(refused_cancellable))
        mark_completed(w, *req);
    put_reqs_available(*w.ctx);
    kiocb_free(w, *req, cpu);
    w.refused.write_release(1);
    return ret;
}

// The user takes one event: io_getevents().
void reap(World& w) {
    Kioctx& ctx = *w.ctx;
    const auto any = [&ctx] { return ctx.tail.peek() != ctx.head.peek(); };
    ctx.wait.wait_event([&] { return ctx.tail.read_acquire() != ctx.head.peek(); }, any);
    ctx.head.write(ctx.head.peek() + 1);
    put_reqs_available(ctx);
}

void device_completes(World& w, long res) {
    Kiocb* const req = w.hw_req.get();
    Priv* const priv = req->priv.get();
    aio_complete(w, *req, res, w.device_cpu);
    if (priv)
        destroy(priv);
}

struct Scene {
    Case which;
    Mistakes mistakes;
    unsigned nr_events;
};

extern const Scene scenes[];

void build(Setup& setup) {
    const Scene& scene = scenes[setup.variant()];
    const Case which = scene.which;
    auto* const w = create<World>("world", which, scene.mistakes);
    w->ctx = create<Kioctx>("ctx", scene.nr_events, scene.mistakes);
    for (unsigned tag = 1; tag < scene.nr_events; ++tag) {
        w->ctx->kiocb_tags.free[tag - 1].set(tag);
        w->ctx->kiocb_tags.nr_free.set(tag);
    }
    w->ledger = create<Ledger>("ledger", Contract{"3.9-mm", true});
    w->r0 = w->ledger->submitted("r0");
    w->r1 = w->ledger->submitted("r1");
    w->device_cpu = which == Case::exhausted ? 1 : 0;
    w->irq = create<Interrupt>("irq", "device", Racer::device, [w] {
        if (w->hw_owns.xchg(0))
            device_completes(*w, 0);
    });
    w->work = create<Work>("work", "cancel_work", Racer::device,
                           [w] { device_completes(*w, -ECANCELED); });
    constexpr int iocb_a = 1, iocb_b = 2;

    setup.task("submitter", Racer::submitter, [w, which] {
        if (which == Case::teardown && !lookup_ioctx(*w, "io_submit")) {
            w->ledger->refused(w->r0);
        } else {
            io_submit_one(*w, w->r0, iocb_a, 0);
            if (which == Case::teardown)
                put_ioctx(*w, "io_submit");
        }
        if (which == Case::reuse || which == Case::reuse_iocb || which == Case::exhausted) {
            reap(*w);
            const int iocb = which == Case::reuse ? iocb_b : iocb_a;
            if (io_submit_one(*w, w->r1, iocb, 0) == -EAGAIN && which == Case::exhausted)
                io_submit_one(*w, w->r1, iocb, 0);
        } else if (which != Case::page) {
            w->ledger->refused(w->r1);
        }
    });
    if (which == Case::page)
        setup.task("submitter2", Racer::submitter, [w] { io_submit_one(*w, w->r1, iocb_b, 1); });
    else if (which == Case::teardown)
        setup.task("destroyer", Racer::destroyer, [w] { kill_ioctx(*w); });
    else if (which != Case::exhausted)
        setup.task("canceller", Racer::canceller, [w, which] {
            if (which == Case::observe)
                w->queued.wait();
            if (which == Case::bound)
                w->aio_key[iocb_a].write(int(w->ctx->nr_events)); // the user's own memory
            io_cancel(*w, iocb_a);
        });
    if (which == Case::observe)
        setup.task("thread", Racer::device, [w] {
            w->queued.wait();
            Kiocb* const req = w->hw_req.get();
            w->thread_wait.wait_event([&] { return kiocb_cancelled(*w, *req); },
                                      [&] { return req->ki_cancel.peek() == KIOCB_CANCELLED; });
            device_completes(*w, -ECANCELED);
        });
    setup.at_end([w, which] {
        w->ledger->check();
        if (which != Case::teardown)
            require(tags_at_home(w->ctx->kiocb_tags) == w->ctx->nr_events - 1, "leak", "kiocb_tags",
                    "all requests are over, and a tag is still out");
        outcome("r0=%ld/%u r1=%ld/%u", w->ledger->result(w->r0), w->ledger->events(w->r0),
                w->ledger->result(w->r1), w->ledger->events(w->r1));
    });
}

constexpr Scene scenes[] = {
    {Case::plain, as_posted, 2},
    {Case::plain, stores_cancelling, 2},
    {Case::plain, 0, 2},
    {Case::bound, as_posted, 4},
    {Case::bound, key_bound, 4},
    {Case::bound, 0, 4},
    {Case::page, as_posted, 3},
    {Case::page, tag_lost, 3},
    {Case::page, 0, 3},
    {Case::reuse, as_posted, 2},
    {Case::reuse, lookup_not_held, 2},
    {Case::reuse, 0, 2},
    {Case::reuse_iocb, as_posted, 2},
    {Case::reuse_iocb, lookup_not_held, 2},
    {Case::reuse_iocb, 0, 2},
    {Case::set_twice, as_posted, 2},
    {Case::set_twice, overwrites_cancelling, 2},
    {Case::set_twice, 0, 2},
    {Case::set_late, as_posted, 2},
    {Case::set_late, calls_outside, 2},
    {Case::set_late, 0, 2},
    {Case::observe, as_posted, 2},
    {Case::observe, false_while_cancelling, 2},
    {Case::observe, 0, 2},
    {Case::refused, as_posted, 2},
    {Case::refused, refused_cancellable | lookup_not_held, 2},
    {Case::refused, 0, 2},
    {Case::teardown, as_posted, 2},
    {Case::teardown, freed_after_rcu, 2},
    {Case::teardown, 0, 2},
    {Case::exhausted, as_posted, 2},
    {Case::exhausted, pool_lock_kept, 2},
    {Case::exhausted, 0, 2},
};

// What the text as posted and the text with that one mistake both show.
constexpr Expected spins{"livelock:device>ki_cancel",
                         "kiocb_cancel stores KIOCB_CANCELLING, not `new`: nobody ends it"};
constexpr Expected key_at_the_end{
    "out-of-bounds:kiocb_pages",
    "key > ctx->nr_events lets nr_events through; the array ends at a page's edge"};
constexpr Expected tag_leaks{"leak:kiocb_tags",
                             "aio_get_req's err: puts reqs_available back, not the tag"};
constexpr Expected cancels_another{"contract:r1:cancelled-unasked",
                                   "nothing holds the kiocb between lookup_kiocb and kiocb_cancel"};
constexpr Expected spins_and_waits{"deadlock:device>ki_cancel,submitter>wait",
                                   "the livelock, and who waits for the event"};
constexpr Expected ends_with_pool_lock{"context:submitter:ends-atomic",
                                       "tag_alloc (17/21) fails with pool->lock held"};
constexpr Expected forgotten{
    "contract:r0:cancel-forgotten",
    "kiocb_set_cancel_fn replaces KIOCB_CANCELLING; its comment promises the call"};
constexpr Expected callback_not_awaited{
    "use-after-free:priv",
    "completion no longer sees CANCELLING and does not wait for the callback"};
constexpr Expected never_told{
    "lost-wakeup:thread>thread_wait",
    "kiocb_cancelled() is false while the callback that wakes the thread runs"};
constexpr Expected cancels_a_free_one{
    "contract:r0:in-progress-after-refusal",
    "out_put_req frees the kiocb with ki_cancel NULL and ki_obj.user set"};
constexpr Expected page_gone{
    "use-after-free:page",
    "kiocb_free() after rcu_read_unlock(): free_ioctx_rcu has freed the kiocb's page"};
constexpr Expected takes_pool_lock_again{"deadlock:submitter:pool->lock:recursive",
                                         "17/21, tag_alloc: fail: is reached with pool->lock held"};

const Register registered({
    .name = "cancel_without_callback_2013",
    .about = "3.9-mm: tags, pages of kiocbs, KIOCB_CANCELLING; the patch as posted, and corrected",
    .cites = "[PATCH 18/21] aio: Allow cancellation without a cancel callback, 2013-05-13",
    .variants =
        {
            {"as-posted", "no callback: the device's interrupt against io_cancel", {spins}},
            {"stores-cancelling",
             "corrected but for kiocb_cancel's cmpxchg(.., KIOCB_CANCELLING)",
             {spins}},
            {"corrected", "cmpxchg(.., new)", {}},
            {"as-posted-bound",
             "aio_key is user memory: io_cancel with key nr_events",
             {key_at_the_end, maybe(spins)}},
            {"key-bound",
             "corrected but for lookup_kiocb's key > ctx->nr_events",
             {key_at_the_end}},
            {"corrected-bound", "key >= ctx->nr_events", {}},
            {"as-posted-page", "two submitters, one page to allocate, which may fail", {tag_leaks}},
            {"tag-lost", "corrected but for the tag_free() at err:", {tag_leaks}},
            {"corrected-page", "tag_free() at err:", {}},
            {"as-posted-reuse",
             "io_cancel(A) while A completes and B gets its id",
             {cancels_another, maybe(spins), maybe(spins_and_waits), maybe(ends_with_pool_lock)}},
            {"lookup-not-held",
             "corrected but for the hold on what was looked up",
             {cancels_another}},
            {"corrected-reuse", "inc_not_zero(ki_users), then ki_obj.user is compared", {}},
            {"as-posted-reuse-iocb",
             "the same, and B is submitted from the memory of A",
             {cancels_another, maybe(spins), maybe(spins_and_waits), maybe(ends_with_pool_lock)}},
            {"lookup-not-held-iocb", "the same, corrected but for the hold", {cancels_another}},
            {"corrected-reuse-iocb", "the same, with the hold", {}},
            {"as-posted-set-twice",
             "a driver that sets its function again for a second stage",
             {forgotten, callback_not_awaited}},
            {"overwrites-cancelling",
             "corrected but for kiocb_set_cancel_fn over KIOCB_CANCELLING",
             {forgotten, callback_not_awaited}},
            {"corrected-set-twice", "kiocb_set_cancel_fn waits for the callback that runs", {}},
            {"as-posted-set-late", "io_cancel before the driver has set its function", {forgotten}},
            {"calls-outside",
             "corrected but for the call outside KIOCB_CANCELLING",
             {{"use-after-free:priv", "called by kiocb_set_cancel_fn outside CANCELLING: "
                                      "completion does not wait for it"}}},
            {"corrected-set-late", "CANCELLED, CANCELLING, the call, CANCELLED", {}},
            {"as-posted-observe",
             "the callback wakes a thread that looks at kiocb_cancelled()",
             {never_told}},
            {"false-while-cancelling",
             "corrected but for kiocb_cancelled() == KIOCB_CANCELLED",
             {never_told}},
            {"corrected-observe", "kiocb_cancelled() is true while CANCELLING", {}},
            {"as-posted-refused",
             "aio_run_iocb fails: the free kiocb can still be cancelled",
             {cancels_a_free_one}},
            {"refused-cancellable",
             "corrected but for ki_cancel at out_put_req, and for the hold that hides it",
             {cancels_a_free_one}},
            {"corrected-refused", "out_put_req marks the kiocb as completion does", {}},
            {"as-posted-teardown",
             "completion against io_destroy",
             {page_gone,
              {"deadlock:destroyer>wait,device>ki_cancel", "the livelock, and io_destroy waits",
               false},
              {"deadlock:device>ki_cancel,submitter>wait",
               "the same, when io_submit drops the last ctx->users", false}}},
            {"freed-after-rcu", "corrected but for the place of kiocb_free()", {page_gone}},
            {"corrected-teardown", "kiocb_free() inside the read section", {}},
            {"as-posted-exhausted",
             "the only tag lies on another CPU's list; io_submit twice",
             {takes_pool_lock_again, maybe(spins)}},
            {"pool-lock-kept", "corrected but for tag_alloc's lock", {takes_pool_lock_again}},
            {"corrected-exhausted", "unlocked before fail:", {}},
        },
    .build = build,
    .bounds = {},
});

} // namespace

} // namespace at::model
