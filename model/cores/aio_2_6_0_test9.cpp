// fs/aio.c of 2.6.0-test9 and a character driver of that time, after the article of 2003 on
// asynchronous I/O in drivers ("Driver porting: supporting asynchronous I/O"). Each broken driver
// breaks one sentence of the article or of include/linux/aio.h; they run on the core with its own
// bugs of that time fixed, so that what is found is the driver's.
//
// Invariant: one event for each request, or io_cancel()'s answer and no event; the kiocb is freed
// once; nobody touches it, or the user's buffer, after aio_complete(); io_destroy() ends.
#include "cores/ki_users.hpp"

namespace at::model {

namespace {

enum : unsigned {
    obeys_test9,
    obeys,
    obeys_at_once,
    obeys_reaped,
    obeys_fsync,
    touches_after_queueing_test9,
    touches_after_queueing,
    completes_and_returns,
    queues_and_returns,
    works_in_interrupt,
    no_lock,
    never_completes,
    touches_iocb,
    touches_buffer,
    fsync_does_not_wait,
    queues_sync_iocb,
    cancel_stores_nothing,
    cancel_and_event,
    cancel_denies,
    cancel_keeps_reference,
};

constexpr long EAGAIN_ = -11, EINVAL_ = -22, ECANCELED_ = -125, EIOCBQUEUED_ = -529;
constexpr long transferred = 4096;

// The fixes that the core of test9 had still to get.
struct Kernel {
    // AIO-ref-count.patch for 2.6.0-test9, 11 November 2003: io_submit holds a reference.
    bool submit_holds;
    // "aio: fix buggy put_ioctx call in aio_complete - v2", 2.6.20: reqs_active is looked at under
    // ctx_lock, the wake-up is under it too, and requests hold no reference of the context.
    bool waits_under_lock;
    bool submit_checks_dead; // 7137c6bd4552; needed since requests hold no reference
};

Kernel kernel_of(unsigned variant) {
    if (variant == obeys_test9 || variant == touches_after_queueing_test9)
        return {false, false, false};
    return {true, true, true};
}

using Holder = KiUsersBooks::Holder;
using enum KiUsersBooks::Holder;
enum class Op9 : unsigned { aio_read, aio_write, aio_fsync };

struct World;

struct Kioctx {
    Refs users{"users", "list"};
    Atomic<int> dead{"dead", 0};
    SpinLock ctx_lock{"ctx_lock"};
    WaitQueue wait{"wait"};
    Atomic<int> reqs_active{"reqs_active", 0}; // test9 reads it without ctx_lock
    ListNode active_reqs{"active_reqs"};
    Atomic<unsigned> tail{"ring_info.tail", 0};
};

struct IoEvent { // struct io_event on io_cancel's stack
    long res;
    bool stored;
};

struct Kiocb {
    Kiocb(World* world, unsigned slot, Op9 what, bool synchronous)
        : w(world), index(slot), op(what), sync(synchronous) {}
    World* w;
    unsigned index;
    Op9 op;
    bool sync; // is_sync_kiocb()
    ListNode ki_list{"ki_list", this};
    Atomic<bool> ki_cancel{"ki_cancel", false};
    Atomic<int> ki_users{"ki_users", 1}; // under ctx_lock; of a sync iocb it is not
    Var<long> ki_user_data{"ki_user_data", 0};
    Var<long> ki_pos{"ki_pos", 0};
    KiUsersBooks held{io};
};

struct UserBuffer {
    Var<int> bytes{"bytes", 0};
};

struct Driver {
    SpinLock lock{"queue_lock"};
    Var<unsigned> queue{"queue", 0};     // requests that the device has still to do, a bit each
    Var<unsigned> writing{"writing", 0}; // writes accepted and not yet on the medium
    Interrupt* irq = nullptr;
};

constexpr unsigned requests_max = 2;

struct World {
    unsigned variant;
    Kernel kernel;
    Kioctx* ctx;
    Driver* driver;
    Ledger* ledger;
    UserBuffer* buffer;
    SpinLock ioctx_list_lock{"mm->ioctx_list_lock"}; // a rwlock; readers exclude each other here
    Var<bool> ioctx_list{"mm->ioctx_list", true};
    WaitQueue sync_task{"sync_task"};
    Kiocb* req[requests_max];
    Ledger::Request named[requests_max];
    bool freed[requests_max];
};

// --- fs/aio.c

// fs/aio.c, __put_ioctx(): aio_free_ring() takes mmap_sem and unmaps the ring.
void put_ioctx(World* w, const char* holder) {
    if (!w->ctx->users.put(holder))
        return;
    require(w->ctx->reqs_active.peek() == 0, "contract", "__put_ioctx:BUG-reqs_active",
            "the context is freed with requests in flight");
    might_sleep();
    destroy(w->ctx);
}

bool lookup_ioctx(World* w, const char* holder) {
    Locked guard(w->ioctx_list_lock);
    if (!w->ioctx_list.get())
        return false;
    w->ctx->users.get(holder);
    return true;
}

void really_put_req(Kioctx* ctx, Kiocb* req) {
    req->w->freed[req->index] = true;
    destroy(req);
    if (ctx->reqs_active.dec_and_test() && ctx->dead.read())
        ctx->wait.wake_up();
}

bool __aio_put_req(Kioctx* ctx, Kiocb* req, Holder holder) {
    const bool last = req->ki_users.dec_and_test();
    req->held.drop(holder);
    if (!last)
        return false;
    req->ki_list.del();
    really_put_req(ctx, req);
    return true;
}

bool aio_put_req(Kiocb* req, Holder holder) {
    use(req, "ki_ctx");
    World* const w = req->w;
    w->ctx->ctx_lock.lock_irqsave();
    const bool last = __aio_put_req(w->ctx, req, holder);
    w->ctx->ctx_lock.unlock_irqrestore();
    if (last && !w->kernel.waits_under_lock)
        put_ioctx(w, "kiocb");
    return last;
}

unsigned writes_pending(World* w) {
    Driver* const driver = w->driver;
    driver->lock.lock_irqsave();
    const unsigned writing = driver->writing.get();
    driver->lock.unlock_irqrestore();
    return writing;
}

// fs/aio.c, aio_complete(). "aio_complete() can be safely called in an interrupt handler."
void aio_complete(Kiocb* iocb, long res) {
    use(iocb, "ki_ctx");
    World* const w = iocb->w;
    if (iocb->sync) {
        // The reader's stack holds the iocb, and may be gone once ki_users is 0.
        iocb->ki_user_data.set(res);
        iocb->ki_users.write_release(0);
        use(iocb, "ki_user_obj"); // wake_up_process(iocb->ki_user_obj)
        w->sync_task.wake_up();
        return;
    }
    if (iocb->op == Op9::aio_fsync && res == 0)
        require(writes_pending(w) == 0, "contract", "aio_fsync:data-pending",
                "aio_fsync completes while an earlier write is not on the medium");
    Kioctx* const ctx = w->ctx;
    ctx->ctx_lock.lock_irqsave();
    w->ledger->event(w->named[iocb->index], res);
    ctx->tail.write_release(ctx->tail.peek() + 1);
    const bool last = __aio_put_req(ctx, iocb, io);
    if (w->kernel.waits_under_lock) {
        ctx->wait.wake_up();
        ctx->ctx_lock.unlock_irqrestore();
        return;
    }
    ctx->ctx_lock.unlock_irqrestore();
    ctx->wait.wake_up();
    if (last)
        put_ioctx(w, "kiocb");
}

long driver_cancel(Kiocb* iocb, IoEvent* event);

void aio_cancel_all(World* w) {
    Kioctx* const ctx = w->ctx;
    IoEvent res{};
    ctx->ctx_lock.lock_irq();
    ctx->dead.write(1);
    while (auto* const iocb = ctx->active_reqs.first<Kiocb>()) {
        iocb->ki_list.del_init();
        w->ledger->swept(w->named[iocb->index]);
        if (iocb->ki_cancel.read()) {
            iocb->ki_users.fetch_add(1);
            iocb->held.take(cancel);
            ctx->ctx_lock.unlock_irq();
            driver_cancel(iocb, &res);
            ctx->ctx_lock.lock_irq();
        }
    }
    ctx->ctx_lock.unlock_irq();
}

// fs/aio.c, wait_for_all_aios()
void wait_for_all_aios(World* w) {
    Kioctx* const ctx = w->ctx;
    const bool locked = w->kernel.waits_under_lock;
    if (locked)
        ctx->ctx_lock.lock_irq();
    if (ctx->reqs_active.read()) {
        Fiber& self = exec->self();
        self.wait_over = [](const void* c) {
            return static_cast<const Kioctx*>(c)->reqs_active.peek() == 0;
        };
        self.wait_argument = ctx;
        ctx->wait.prepare_to_wait();
        while (ctx->reqs_active.read()) {
            if (locked)
                ctx->ctx_lock.unlock_irq();
            ctx->wait.schedule();
            ctx->wait.prepare_to_wait();
            if (locked)
                ctx->ctx_lock.lock_irq();
        }
        ctx->wait.finish_wait();
        self.wait_over = nullptr;
    }
    if (locked)
        ctx->ctx_lock.unlock_irq();
}

void sys_io_destroy(World* w) {
    if (!lookup_ioctx(w, "io_destroy"))
        return;
    w->ioctx_list_lock.lock();
    const int was_dead = w->ctx->dead.xchg(1);
    w->ioctx_list.set(false);
    w->ioctx_list_lock.unlock();
    if (!was_dead)
        put_ioctx(w, "list");
    aio_cancel_all(w);
    wait_for_all_aios(w);
    put_ioctx(w, "io_destroy");
}

// fs/aio.c, sys_io_cancel(): "the resulting event is copied into the memory pointed to by result
// without being placed into the completion queue and 0 is returned"
void sys_io_cancel(World* w, unsigned index) {
    if (!lookup_ioctx(w, "io_cancel"))
        return;
    Kioctx* const ctx = w->ctx;
    ctx->ctx_lock.lock_irq();
    Kiocb* kiocb = nullptr;
    for (ListNode* pos = ctx->active_reqs.next(); pos != &ctx->active_reqs; pos = pos->next())
        if (pos->object<Kiocb>()->index == index)
            kiocb = pos->object<Kiocb>();
    const bool has_cancel = kiocb && kiocb->ki_cancel.read();
    if (has_cancel) {
        kiocb->ki_users.fetch_add(1);
        kiocb->held.take(cancel);
    }
    ctx->ctx_lock.unlock_irq();
    if (has_cancel) {
        IoEvent tmp{};
        if (driver_cancel(kiocb, &tmp) == 0) {
            require(tmp.stored, "contract", "ki_cancel:result-not-stored",
                    "io_cancel answers with a result that nobody stored");
            w->ledger->cancelled(w->named[index]);
        }
    }
    put_ioctx(w, "io_cancel");
}

long f_op(Kiocb* iocb);

// fs/aio.c, io_submit_one()
void io_submit_one(World* w, unsigned index, Op9 op) {
    static constexpr const char* request_name[] = {"r0", "r1"};
    w->named[index] = w->ledger->submitted(request_name[index]);
    Kioctx* const ctx = w->ctx;
    Kiocb* const req = create<Kiocb>("kiocb", w, index, op, false);
    if (w->kernel.submit_holds) {
        req->ki_users.initialise(2);
        req->held.take(submit);
    }
    w->req[index] = req;
    w->freed[index] = false;
    ctx->ctx_lock.lock_irq(); // __aio_get_req()
    ctx->active_reqs.add(req->ki_list);
    ctx->reqs_active.fetch_add(1);
    if (!w->kernel.waits_under_lock)
        ctx->users.get("kiocb");
    const bool dead = w->kernel.submit_checks_dead && ctx->dead.read();
    ctx->ctx_lock.unlock_irq();
    if (dead) {
        w->ledger->refused(w->named[index]);
        aio_put_req(req, submit);
        aio_put_req(req, io);
        return;
    }
    const long ret = f_op(req);
    if (w->kernel.submit_holds)
        aio_put_req(req, submit);
    if (ret != EIOCBQUEUED_)
        aio_complete(req, ret);
}

void sys_io_submit(World* w, unsigned index, Op9 op) {
    if (!lookup_ioctx(w, "io_submit"))
        return;
    io_submit_one(w, index, op);
    put_ioctx(w, "io_submit");
}

// fs/read_write.c, do_sync_read(): the iocb lies on the stack.
void do_sync_read(World* w) {
    Kiocb* const kiocb = create<Kiocb>("sync_kiocb", w, 0u, Op9::aio_read, true);
    w->req[0] = kiocb;
    long ret = f_op(kiocb);
    if (ret == EIOCBQUEUED_) {
        // fs/aio.c, wait_on_sync_kiocb()
        w->sync_task.wait_event([&] { return kiocb->ki_users.read_acquire() == 0; },
                                [&] { return kiocb->ki_users.peek() == 0; });
        ret = kiocb->ki_user_data.get();
    }
    require(ret == transferred, "contract", "read:wrong-result",
            "read() returns what it did not do");
    destroy(kiocb); // the function returns
}

// io_getevents(), and the owner uses the buffer for something else.
void reap(World* w) {
    Kioctx* const ctx = w->ctx;
    ctx->wait.wait_event([&] { return ctx->tail.read_acquire() != 0; },
                         [&] { return ctx->tail.peek() != 0; });
    w->buffer->bytes.set(1);
}

// --- the driver

// Takes one of `mask` from the queue; the lowest when there are several.
// What is taken by a cancel will not be written any more.
unsigned take(World* w, unsigned mask, bool cancels = false) {
    Driver* const driver = w->driver;
    const bool locks = w->variant != no_lock;
    if (locks)
        driver->lock.lock_irqsave();
    const unsigned queue = driver->queue.get();
    const unsigned taken = queue & mask & (0u - (queue & mask));
    driver->queue.set(queue & ~taken);
    if (cancels)
        driver->writing.set(driver->writing.get() & ~taken);
    if (locks)
        driver->lock.unlock_irqrestore();
    return taken;
}

void enqueue(Kiocb* iocb) {
    World* const w = iocb->w;
    Driver* const driver = w->driver;
    const unsigned self = 1u << iocb->index;
    const bool locks = w->variant != no_lock;
    if (locks)
        driver->lock.lock_irqsave();
    driver->queue.set(driver->queue.get() | self);
    if (iocb->op == Op9::aio_write)
        driver->writing.set(driver->writing.get() | self);
    if (locks)
        driver->lock.unlock_irqrestore();
    driver->irq->raise();
}

void written(World* w, unsigned mask) {
    w->driver->lock.lock_irqsave();
    w->driver->writing.set(w->driver->writing.get() & ~mask);
    w->driver->lock.unlock_irqrestore();
}

// The driver's aio_read, aio_write and aio_fsync.
long f_op(Kiocb* iocb) {
    World* const w = iocb->w;
    if (iocb->sync && w->variant != queues_sync_iocb)
        return transferred; // "the request must be handled synchronously"
    switch (w->variant) {
    case obeys_at_once:
        return transferred; // "the return value should be the usual status or error code"
    case completes_and_returns:
        aio_complete(iocb, transferred);
        return transferred;
    case fsync_does_not_wait:
        if (iocb->op == Op9::aio_fsync)
            return 0;
        break;
    default:
        break;
    }
    if (!iocb->sync)
        iocb->ki_cancel.write(true);
    enqueue(iocb);
    if (w->variant == touches_after_queueing || w->variant == touches_after_queueing_test9)
        iocb->ki_pos.set(transferred); // as generic_file_aio_write_nolock() did
    return w->variant == queues_and_returns ? transferred : EIOCBQUEUED_;
}

void interrupt(World* w) {
    while (const unsigned taken = take(w, ~0u)) {
        Kiocb* const iocb = w->req[taken >> 1];
        if (w->variant == never_completes)
            continue;
        if (w->variant == works_in_interrupt)
            might_sleep(); // copy_to_user(): the process's context is not to be had here
        w->buffer->bytes.set(2);
        if (iocb->op == Op9::aio_write)
            written(w, taken);
        aio_complete(iocb, iocb->op == Op9::aio_fsync ? 0 : transferred);
        if (w->variant == touches_iocb)
            iocb->ki_pos.set(transferred);
        if (w->variant == touches_buffer)
            w->buffer->bytes.set(3);
    }
}

// "If it is possible to cancel (or successfuly complete) the operation prior to returning from the
// cancellation function, the result of the operation should be stored into the res and res2 fields
// of the io_event structure, and return zero. A non-zero return value from the cancellation
// function indicates that cancellation was not possible."
long driver_cancel(Kiocb* iocb, IoEvent* event) {
    World* const w = iocb->w;
    const unsigned self = 1u << iocb->index;
    if (!take(w, self, true)) {
        if (w->variant != cancel_keeps_reference)
            aio_put_req(iocb, cancel);
        return EAGAIN_;
    }
    if (w->variant != cancel_stores_nothing)
        *event = {ECANCELED_, true};
    if (w->variant == cancel_and_event)
        aio_complete(iocb, ECANCELED_);
    else
        aio_put_req(iocb, io);
    if (w->variant != cancel_keeps_reference)
        aio_put_req(iocb, cancel);
    return w->variant == cancel_denies ? EAGAIN_ : 0;
}

// ---

void name_missing(const World* w) {
    for (unsigned i = 0; i < requests_max; ++i)
        if (!w->freed[i])
            w->req[i]->held.name_missing();
}

void build(Setup& setup) {
    const unsigned variant = setup.variant();
    auto* const w = create<World>("world");
    w->variant = variant;
    w->kernel = kernel_of(variant);
    w->ctx = create<Kioctx>("ctx");
    w->driver = create<Driver>("driver");
    w->ledger = create<Ledger>("ledger", contract_2003);
    w->buffer = create<UserBuffer>("buffer");
    for (bool& freed : w->freed)
        freed = true;
    w->driver->irq = create<Interrupt>("irq", "device", Racer::device, [w] { interrupt(w); });
    setup.at_hang([w] { name_missing(w); });
    setup.at_end([w] {
        w->ledger->check();
        outcome("r0=%u/%ld%s r1=%u/%ld", w->ledger->events(0), w->ledger->result(0),
                w->ledger->was_cancelled(0) ? " cancelled" : "", w->ledger->events(1),
                w->ledger->result(1));
    });
    switch (variant) {
    case queues_sync_iocb:
        setup.task("read", Racer::submitter, [w] { do_sync_read(w); });
        return;
    case obeys_reaped:
    case touches_buffer:
        setup.task("io_submit", Racer::submitter, [w] {
            sys_io_submit(w, 0, Op9::aio_read);
            reap(w);
        });
        return;
    case obeys_fsync:
    case fsync_does_not_wait:
        setup.task("io_submit", Racer::submitter, [w] {
            sys_io_submit(w, 0, Op9::aio_write);
            sys_io_submit(w, 1, Op9::aio_fsync);
        });
        break;
    case obeys_at_once:
        setup.task("io_submit", Racer::submitter, [w] {
            sys_io_submit(w, 0, Op9::aio_read);
            do_sync_read(w);
        });
        break;
    default:
        setup.task("io_submit", Racer::submitter, [w] { sys_io_submit(w, 0, Op9::aio_read); });
        break;
    }
    setup.task("io_cancel", Racer::canceller, [w] { sys_io_cancel(w, 0); });
    setup.task("io_destroy", Racer::destroyer, [w] { sys_io_destroy(w); });
}

constexpr std::string_view put_ioctx_fix =
    "\"aio: fix buggy put_ioctx call in aio_complete - v2\", 2.6.20";

const Register registered({
    .name = "2.6.0-test9",
    .about = "the driver's rules of the 2003 article, each broken once",
    .cites = "fs/aio.c, fs/read_write.c, include/linux/aio.h, 2.6.0-test9",
    .variants =
        {
            {"obeys-test9",
             "a driver that obeys, on the core of test9",
             {{"context:device:sleeps", put_ioctx_fix}, {"use-after-free:ctx", put_ioctx_fix}}},
            {"obeys", "the same on the core with that fixed: clean", {}},
            {"obeys-at-once", "what can be done at once, and a sync iocb, returns the status", {}},
            {"obeys-reaped", "the owner uses the buffer again once the event is there", {}},
            {"obeys-fsync", "aio_fsync completes behind the writes before it", {}},
            {"touches-after-queueing-test9",
             "aio_read touches the iocb when the interrupt may have completed it",
             {{"use-after-free:kiocb", "AIO-ref-count.patch for 2.6.0-test9, November 2003"},
              {"context:device:sleeps", put_ioctx_fix},
              {"use-after-free:ctx", put_ioctx_fix, false}}},
            {"touches-after-queueing", "the same with that patch: io_submit holds a reference", {}},
            {"completes-and-returns",
             "calls aio_complete() and returns the status too",
             {{"use-after-free:kiocb",
               "\"If the operation is complete before aio_read() returns, the "
               "return value should be the usual status\""}}},
            {"queues-and-returns",
             "queues the request and returns a status",
             {{"use-after-free:kiocb", "\"then return -EIOCBQUEUED\""},
              {"ledger:r0:double-completion", "the same"},
              {"ledger:r0:event-after-cancel", "the same"},
              {"reference:ki_users:io:not-held", "the same"}}},
            {"works-in-interrupt",
             "copies to the user's memory in the interrupt",
             {{"context:device:sleeps", "\"any work that must be done within the user process's "
                                        "context must be done before returning\""}}},
            {"no-lock",
             "a queue without a lock",
             {{"data-race:driver.*", "\"A driver which implements AIO will have to include "
                                     "proper locking\""}}},
            {"never-completes",
             "takes the request and forgets it",
             {{"deadlock:io_destroy>wait", "\"you must inform the AIO subsystem\""},
              {"reference:ki_users:io:never-dropped", "the same"}}},
            {"touches-iocb",
             "the interrupt touches the iocb after aio_complete()",
             {{"use-after-free:kiocb", "\"you no longer own the IOCB or the user buffer\""}}},
            {"touches-buffer",
             "the interrupt touches the buffer after aio_complete()",
             {{"data-race:buffer.bytes", "\"you no longer own the IOCB or the user buffer\""}}},
            {"fsync-does-not-wait",
             "aio_fsync returns 0 at once",
             {{"contract:aio_fsync:data-pending", "\"its purpose is to ensure that all pending "
                                                  "data are written to disk\""}}},
            {"queues-sync-iocb",
             "queues a synchronous iocb and completes it from the interrupt",
             {{"use-after-free:sync_kiocb",
               "\"must be handled synchronously\"; the core wakes the reader by the iocb on its "
               "stack after ki_users went to 0; v4.1 completes no sync iocb any more"}}},
            {"cancel-stores-nothing",
             "ki_cancel returns 0 and leaves the io_event as it was",
             {{"contract:ki_cancel:result-not-stored", "\"the result of the operation should be "
                                                       "stored into the res and res2 fields\""}}},
            {"cancel-and-event",
             "ki_cancel returns 0 and calls aio_complete() too (2.6.33 would swallow the event)",
             {{"ledger:r0:event-and-cancel", "fs/aio.c: \"without being placed into the completion "
                                             "queue\""}}},
            {"cancel-denies",
             "ki_cancel cancels and returns non-zero",
             {{"ledger:r0:no-event", "\"A non-zero return value indicates that cancellation was "
                                     "not possible\""}}},
            {"cancel-keeps-reference",
             "the article to the letter: it does not say that ki_cancel must drop a reference",
             {{"deadlock:io_destroy>wait", "include/linux/aio.h: \"All cancel operations *must* "
                                           "call aio_put_req\""},
              {"reference:ki_users:cancel:never-dropped", "the same"}}},
        },
    .build = build,
    .bounds = {},
});

} // namespace

} // namespace at::model
