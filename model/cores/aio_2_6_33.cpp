// fs/aio.c of 2.6.33 with the zero-copy DMA driver of the message of 28 April 2010, and with the
// only driver in the tree that cancelled, drivers/usb/gadget/inode.c.
//
// Invariant: io_destroy() and exit end; each kiocb is freed once, with its last reference; a
// request that io_cancel() answered sends no event, and every other one sends its own.
//
// ki_users counts: the i/o (dropped by aio_complete), the submission (dropped at the end of
// io_submit_one) and, for each cancel under way, one that io_cancel or aio_cancel_all takes and
// never gives back: "all cancel operations *must* call aio_put_req to dispose of the kiocb"
// (include/linux/aio.h). aio_put_req() does not say whose it drops; the books below name the one
// that the driver's author meant.
#include "cores/ki_users.hpp"

namespace at::model {

namespace {

enum : unsigned {
    complete_only,
    complete_and_put,
    two_puts,
    one_put_too_many,
    kick_and_put,
    kick_after_retry,
    kernel_puts,
    kernel_puts_gadget,
    gadget,
    exit_complete_only,
    exit_complete_and_put,
    submit_against_destroy,
    corrected,
    corrected_exit,
    corrected_submit,
};

constexpr long EAGAIN_ = -11, EINTR_ = -4, EINVAL_ = -22, ECONNRESET_ = -104;
constexpr long ECANCELED_ = -125, EIOCBQUEUED_ = -529, EIOCBRETRY_ = -530;
constexpr long transferred = 4096;

enum KifBit : unsigned { KIF_KICKED = 1, KIF_CANCELLED = 2 }; // include/linux/aio.h

// What of the kernel's later history a variant has.
struct Kernel {
    bool cancel_puts;        // the message's fix: whoever took the cancel reference drops it
    bool try_get_ioctx;      // 3bd9a5d734c7, v2.6.38, lookup_ioctx(): atomic_inc_not_zero()
    bool submit_checks_dead; // 7137c6bd4552, io_submit_one()
    bool always_event;       // the event is not suppressed by KIF_CANCELLED: bec68faaf3ba's rule
};

Kernel kernel_of(unsigned variant) {
    if (variant >= corrected)
        return {true, true, true, true};
    return {variant == kernel_puts || variant == kernel_puts_gadget, false, false, false};
}

using Holder = KiUsersBooks::Holder;
using enum KiUsersBooks::Holder;

struct World;
struct Kiocb;

struct Kioctx {
    Refs users{"users", "list"};
    Atomic<int> dead{"dead", 0}; // lookup_ioctx() reads it under rcu_read_lock() alone
    SpinLock ctx_lock{"ctx_lock"};
    WaitQueue wait{"wait"};
    // Under ctx_lock:
    Var<int> reqs_active{"reqs_active", 0};
    ListNode active_reqs{"active_reqs"};
    ListNode run_list{"run_list"};
};

struct Kiocb {
    explicit Kiocb(World* world, Ledger::Request request) : w(world), named(request) {}
    World* w;              // stands for ki_ctx and ki_filp
    Ledger::Request named; // stands for ki_obj.user
    ListNode ki_list{"ki_list", this};
    ListNode ki_run_list{"ki_run_list", this};
    Atomic<unsigned> ki_flags{"ki_flags", 0};
    Var<int> ki_users{"ki_users", 2}; // under ctx_lock
    Atomic<bool> ki_cancel{"ki_cancel", false};
    Var<struct KiocbPriv*> private_{"private", nullptr};
    KiUsersBooks held{submit, io};
};

// drivers/usb/gadget/inode.c
struct KiocbPriv {
    Var<bool> req{"req", true};
    Var<bool> epdata{"epdata", true};
};

// The message's descriptor chain, or the gadget's endpoint queue.
struct Driver {
    SpinLock chain_lock{"chain_lock"};
    Var<unsigned> chain{"chain", 0}; // descriptors that the engine has not processed
    SpinLock dev_lock{"dev->lock"};
    Interrupt* irq = nullptr;
};

constexpr unsigned requests_max = 2;

struct World {
    unsigned variant;
    Kernel kernel;
    Kioctx* ctx;
    Driver* driver;
    Ledger* ledger;
    SpinLock ioctx_lock{"mm->ioctx_lock"};
    Atomic<Kioctx*> ioctx_list{"mm->ioctx_list"};
    RcuHead* rcu_head = nullptr;
    Work* wq = nullptr;
    unsigned requests;
    Kiocb* req[requests_max];
    Ledger::Request named[requests_max];
    bool freed[requests_max];
};

bool uses_gadget(const World* w) {
    return w->variant == gadget || w->variant == kernel_puts_gadget;
}

// --- fs/aio.c

void aio_complete(Kiocb* iocb, long res);

// fs/aio.c, __put_ioctx()
void put_ioctx(World* w, const char* holder) {
    if (!w->ctx->users.put(holder))
        return;
    require(w->ctx->reqs_active.get() == 0, "contract", "__put_ioctx:BUG_ON-reqs_active",
            "the context is freed with requests in flight: BUG_ON(ctx->reqs_active)");
    w->rcu_head->call();
}

// fs/aio.c, lookup_ioctx(); in 2.6.33 with get_ioctx(), whatever the count is.
bool lookup_ioctx(World* w, const char* holder) {
    rcu_read_lock();
    bool found = false;
    Kioctx* const ctx = w->ioctx_list.read_acquire(); // hlist_for_each_entry_rcu
    if (ctx && !ctx->dead.read()) {
        found = true;
        if (w->kernel.try_get_ioctx)
            found = ctx->users.get_unless_zero(holder);
        else
            ctx->users.get(holder);
    }
    rcu_read_unlock();
    return found;
}

unsigned index_of(const Kiocb* req) {
    return req->w->req[0] == req ? 0 : 1;
}

// fs/aio.c, really_put_req()
void really_put_req(Kioctx* ctx, Kiocb* req) {
    req->w->freed[index_of(req)] = true;
    destroy(req);
    ctx->reqs_active.add(-1);
    if (ctx->reqs_active.get() == 0 && ctx->dead.read())
        ctx->wait.wake_up();
}

// fs/aio.c, __aio_put_req(); the last fput() is not modelled: the file stays open.
bool __aio_put_req(Kioctx* ctx, Kiocb* req, Holder holder) {
    const int left = req->ki_users.add(-1);
    req->held.drop(holder);
    if (left)
        return false;
    req->ki_list.del();
    req->ki_cancel.write(false);
    really_put_req(ctx, req);
    return true;
}

bool aio_put_req(Kiocb* req, Holder holder) {
    use(req, "ki_ctx");
    Kioctx* const ctx = req->w->ctx;
    ctx->ctx_lock.lock_irq();
    const bool last = __aio_put_req(ctx, req, holder);
    ctx->ctx_lock.unlock_irq();
    return last;
}

bool kiocb_is_cancelled(Kiocb* iocb) {
    return iocb->ki_flags.read() & (1u << KIF_CANCELLED);
}

// fs/aio.c, aio_complete(). Everything, waking included, is under ctx_lock since 2.6.20.
void aio_complete(Kiocb* iocb, long res) {
    use(iocb, "ki_ctx");
    World* const w = iocb->w;
    Kioctx* const ctx = w->ctx;
    ctx->ctx_lock.lock_irqsave();
    if (iocb->ki_run_list.next() && !iocb->ki_run_list.empty())
        iocb->ki_run_list.del_init();
    // "cancelled requests don't get events, userland was given one when the event got cancelled."
    if (w->kernel.always_event || !kiocb_is_cancelled(iocb))
        w->ledger->event(iocb->named, res);
    __aio_put_req(ctx, iocb, io);
    ctx->wait.wake_up();
    ctx->ctx_lock.unlock_irqrestore();
}

// fs/aio.c, __queue_kicked_iocb()
bool __queue_kicked_iocb(Kiocb* iocb) {
    if (!iocb->ki_run_list.empty())
        return false;
    iocb->w->ctx->run_list.add_tail(iocb->ki_run_list);
    return true;
}

// fs/aio.c, kick_iocb() and try_queue_kicked_iocb()
void kick_iocb(Kiocb* iocb) {
    World* const w = iocb->w;
    w->ctx->ctx_lock.lock_irqsave();
    bool run = false;
    if (!iocb->ki_flags.test_and_set_bit(KIF_KICKED))
        run = __queue_kicked_iocb(iocb);
    w->ctx->ctx_lock.unlock_irqrestore();
    if (run)
        w->wq->schedule();
}

long aio_read(Kiocb* iocb);
long aio_retry(Kiocb* iocb);

// fs/aio.c, aio_run_iocb(). Called with ctx_lock held, which it drops and takes again.
long aio_run_iocb(Kiocb* iocb, long (*retry)(Kiocb*)) {
    World* const w = iocb->w;
    Kioctx* const ctx = w->ctx;
    iocb->ki_flags.modify(
        "clear_bit",
        [](unsigned old) { return std::optional<unsigned>(old & ~(1u << KIF_KICKED)); },
        Location::current());
    // iocb->ki_run_list.next = iocb->ki_run_list.prev = NULL: neither empty nor on a list.
    if (iocb->ki_run_list.next())
        iocb->ki_run_list.del();
    ctx->ctx_lock.unlock_irq();
    long ret = EINTR_;
    if (kiocb_is_cancelled(iocb)) {
        aio_complete(iocb, ret);
    } else {
        ret = retry(iocb);
        if (ret != EIOCBRETRY_ && ret != EIOCBQUEUED_)
            aio_complete(iocb, ret);
    }
    ctx->ctx_lock.lock_irq();
    if (ret == EIOCBRETRY_) {
        // Only here does kick_iocb() work again: INIT_LIST_HEAD(&iocb->ki_run_list).
        iocb->ki_run_list.init();
        if (iocb->ki_flags.read() & (1u << KIF_KICKED)) {
            __queue_kicked_iocb(iocb);
            w->wq->schedule();
        }
    }
    return ret;
}

// fs/aio.c, aio_kick_handler() and __aio_run_iocbs()
void aio_kick_handler(World* w) {
    Kioctx* const ctx = w->ctx;
    ctx->ctx_lock.lock_irq();
    while (auto* const iocb = ctx->run_list.first<Kiocb>()) {
        iocb->ki_run_list.del();
        iocb->ki_users.add(1);
        iocb->held.take(submit);
        aio_run_iocb(iocb, aio_retry);
        __aio_put_req(ctx, iocb, submit);
    }
    ctx->ctx_lock.unlock_irq();
}

long driver_cancel(Kiocb* iocb);

// The message's patch: what took the reference gives it back.
void drop_cancel_reference(World* w, Kiocb* iocb) {
    if (w->kernel.cancel_puts)
        aio_put_req(iocb, cancel);
}

// fs/aio.c, aio_cancel_all()
void aio_cancel_all(World* w) {
    Kioctx* const ctx = w->ctx;
    ctx->ctx_lock.lock_irq();
    ctx->dead.write(1);
    while (auto* const iocb = ctx->active_reqs.first<Kiocb>()) {
        iocb->ki_list.del_init();
        const bool has_cancel = iocb->ki_cancel.read();
        w->ledger->swept(iocb->named);
        iocb->ki_flags.test_and_set_bit(KIF_CANCELLED);
        if (has_cancel) {
            iocb->ki_users.add(1);
            iocb->held.take(cancel);
            ctx->ctx_lock.unlock_irq();
            driver_cancel(iocb);
            drop_cancel_reference(w, iocb);
            ctx->ctx_lock.lock_irq();
        }
    }
    ctx->ctx_lock.unlock_irq();
}

// fs/aio.c, wait_for_all_aios(): TASK_UNINTERRUPTIBLE.
void wait_for_all_aios(World* w) {
    Kioctx* const ctx = w->ctx;
    ctx->ctx_lock.lock_irq();
    if (ctx->reqs_active.get()) {
        Fiber& self = exec->self();
        self.wait_over = [](const void* c) {
            return static_cast<const Kioctx*>(c)->reqs_active.get() == 0;
        };
        self.wait_argument = ctx;
        ctx->wait.prepare_to_wait();
        while (ctx->reqs_active.get()) {
            ctx->ctx_lock.unlock_irq();
            ctx->wait.schedule();
            ctx->wait.prepare_to_wait();
            ctx->ctx_lock.lock_irq();
        }
        ctx->wait.finish_wait();
        self.wait_over = nullptr;
    }
    ctx->ctx_lock.unlock_irq();
}

// fs/aio.c, sys_io_destroy() and io_destroy()
void sys_io_destroy(World* w) {
    if (!lookup_ioctx(w, "io_destroy"))
        return;
    w->ioctx_lock.lock();
    const int was_dead = w->ctx->dead.xchg(1);
    w->ioctx_list.write(nullptr); // hlist_del_rcu
    w->ioctx_lock.unlock();
    if (!was_dead)
        put_ioctx(w, "list");
    aio_cancel_all(w);
    wait_for_all_aios(w);
    w->ctx->wait.wake_up();
    put_ioctx(w, "io_destroy");
}

// fs/aio.c, exit_aio(): nobody else is left who could make a system call.
void exit_aio(World* w) {
    w->ioctx_list.write(nullptr);
    aio_cancel_all(w);
    wait_for_all_aios(w);
    put_ioctx(w, "list");
}

// fs/aio.c, sys_io_cancel()
void sys_io_cancel(World* w, Ledger::Request wanted) {
    if (!lookup_ioctx(w, "io_cancel"))
        return;
    Kioctx* const ctx = w->ctx;
    ctx->ctx_lock.lock_irq();
    Kiocb* kiocb = nullptr; // lookup_kiocb()
    for (ListNode* pos = ctx->active_reqs.next(); pos != &ctx->active_reqs; pos = pos->next())
        if (pos->object<Kiocb>()->named == wanted)
            kiocb = pos->object<Kiocb>();
    const bool has_cancel = kiocb && kiocb->ki_cancel.read();
    if (has_cancel) {
        kiocb->ki_users.add(1);
        kiocb->held.take(cancel);
        kiocb->ki_flags.test_and_set_bit(KIF_CANCELLED); // before anybody knows that it can be
    }
    ctx->ctx_lock.unlock_irq();
    if (has_cancel) {
        const long ret = driver_cancel(kiocb);
        if (ret == 0)
            w->ledger->cancelled(wanted); // the answer: copy_to_user(result, &tmp)
        drop_cancel_reference(w, kiocb);
    }
    put_ioctx(w, "io_cancel");
}

// fs/aio.c, aio_get_req()
Kiocb* aio_get_req(World* w, unsigned i) {
    Kiocb* const req = create<Kiocb>("kiocb", w, w->named[i]);
    w->req[i] = req;
    w->freed[i] = false;
    Kioctx* const ctx = w->ctx;
    ctx->ctx_lock.lock_irq();
    ctx->active_reqs.add(req->ki_list);
    ctx->reqs_active.add(1);
    ctx->ctx_lock.unlock_irq();
    return req;
}

// fs/aio.c, io_submit_one()
void io_submit_one(World* w, unsigned i) {
    w->named[i] = w->ledger->submitted(i == 0 ? "r0" : "r1");
    Kiocb* const req = aio_get_req(w, i);
    w->ctx->ctx_lock.lock_irq();
    if (w->kernel.submit_checks_dead && w->ctx->dead.read()) {
        w->ctx->ctx_lock.unlock_irq();
        w->ledger->refused(w->named[i]);
        aio_put_req(req, submit);
        aio_put_req(req, io);
        return;
    }
    aio_run_iocb(req, aio_read);
    w->ctx->ctx_lock.unlock_irq();
    aio_put_req(req, submit);
}

void sys_io_submit(World* w) {
    if (!lookup_ioctx(w, "io_submit"))
        return;
    io_submit_one(w, 0);
    put_ioctx(w, "io_submit");
}

// --- drivers/usb/gadget/inode.c: an IN endpoint, so that nothing is to be copied at the end

void ep_aio_complete(Kiocb* iocb, long status) {
    World* const w = iocb->w;
    KiocbPriv* const priv = iocb->private_.get();
    w->driver->dev_lock.lock_irqsave();
    priv->req.set(false);
    priv->epdata.set(false);
    destroy(priv);
    iocb->private_.set(nullptr);
    aio_complete(iocb, status);
    w->driver->dev_lock.unlock_irqrestore();
}

bool dequeue(World* w, unsigned mask);

// usb_ep_dequeue() of drivers/usb/gadget/dummy_hcd.c gives the request back before it returns.
long usb_ep_dequeue(World* w, Kiocb* iocb) {
    if (!dequeue(w, 1u << index_of(iocb)))
        return EINVAL_;
    ep_aio_complete(iocb, ECONNRESET_);
    return 0;
}

long ep_aio_cancel(Kiocb* iocb) {
    World* const w = iocb->w;
    KiocbPriv* const priv = iocb->private_.get();
    SpinLock::irqs_disable();
    require(priv, "oops", "ep_aio_cancel:private",
            "ep_aio_cancel() follows iocb->private, which ep_aio_complete() has set to NULL");
    const bool epdata = priv->epdata.get();
    // "// spin_lock(&epdata->dev->lock);" is commented out in the source.
    iocb->ki_flags.test_and_set_bit(KIF_CANCELLED);
    long value = EINVAL_;
    if (epdata && priv->req.get())
        value = usb_ep_dequeue(w, iocb);
    SpinLock::irqs_enable();
    aio_put_req(iocb, cancel);
    return value;
}

// --- the message's driver

bool dequeue(World* w, unsigned mask) {
    Locked guard(w->driver->chain_lock);
    const unsigned chain = w->driver->chain.get();
    w->driver->chain.set(chain & ~mask);
    return chain & mask;
}

// "Since there is no simple way to remove single kiocb from the descriptor chain, I'm removing all
// of them from the queue using aio_complete() or aio_put_req() in the ki_cancel() callback"
long zcdma_cancel(Kiocb* iocb) {
    World* const w = iocb->w;
    SpinLock::irqs_disable();
    w->driver->chain_lock.lock();
    const unsigned taken = w->driver->chain.get();
    w->driver->chain.set(0);
    w->driver->chain_lock.unlock();
    SpinLock::irqs_enable();

    const unsigned self = 1u << index_of(iocb);
    for (unsigned i = 0; i < w->requests; ++i)
        if (taken & ~self & (1u << i))
            aio_complete(w->req[i], ECANCELED_);
    const bool ours = taken & self;
    const bool puts =
        w->variant != complete_only && w->variant != exit_complete_only && !w->kernel.cancel_puts;
    if (!ours) {
        // The interrupt has taken it and completes it.
        if (puts)
            aio_put_req(iocb, cancel);
        return EAGAIN_;
    }
    switch (w->variant) {
    case two_puts:
        aio_put_req(iocb, io);
        break;
    case kick_and_put:
    case kick_after_retry:
        kick_iocb(iocb);
        break;
    default:
        aio_complete(iocb, ECANCELED_);
        break;
    }
    if (puts)
        aio_put_req(iocb, cancel);
    if (w->variant == one_put_too_many)
        aio_put_req(iocb, io);
    return 0;
}

long driver_cancel(Kiocb* iocb) {
    return uses_gadget(iocb->w) ? ep_aio_cancel(iocb) : zcdma_cancel(iocb);
}

// f_op->aio_read: prepares the buffers and posts them to the descriptor chain.
long aio_read(Kiocb* iocb) {
    World* const w = iocb->w;
    iocb->ki_cancel.write(true);
    SpinLock::irqs_disable();
    w->driver->chain_lock.lock();
    w->driver->chain.set(w->driver->chain.get() | 1u << index_of(iocb));
    w->driver->chain_lock.unlock();
    SpinLock::irqs_enable();
    w->driver->irq->raise();
    return w->variant == kick_after_retry ? EIOCBRETRY_ : EIOCBQUEUED_;
}

// ki_retry of a driver that returns -EIOCBRETRY. Never reached: only a cancelled one is kicked.
long aio_retry(Kiocb*) {
    return EIOCBRETRY_;
}

// The engine has processed the first descriptor.
void interrupt(World* w) {
    if (!dequeue(w, 1))
        return;
    if (uses_gadget(w))
        ep_aio_complete(w->req[0], transferred);
    else
        aio_complete(w->req[0], transferred);
}

// ---

void name_missing(const World* w) {
    for (unsigned i = 0; i < w->requests; ++i)
        if (!w->freed[i] && w->req[i])
            w->req[i]->held.name_missing();
}

void build(Setup& setup) {
    const unsigned variant = setup.variant();
    const bool exits = variant == exit_complete_only || variant == exit_complete_and_put ||
                       variant == corrected_exit;
    const bool submits = variant == submit_against_destroy || variant == corrected_submit;
    auto* const w = create<World>("world");
    w->variant = variant;
    w->kernel = kernel_of(variant);
    w->ctx = create<Kioctx>("ctx");
    w->ioctx_list.initialise(w->ctx);
    w->driver = create<Driver>("driver");
    w->ledger = create<Ledger>("ledger", w->kernel.always_event ? contract_today : contract_2_6_33);
    w->requests = submits || uses_gadget(w) ? 1 : 2;
    for (unsigned i = 0; i < requests_max; ++i)
        w->freed[i] = true;
    w->driver->irq = create<Interrupt>("irq", "device", Racer::device, [w] { interrupt(w); });
    w->rcu_head =
        create<RcuHead>("rcu_head", "ctx_rcu_free", Racer::destroyer, [w] { destroy(w->ctx); });
    if (variant == kick_and_put || variant == kick_after_retry)
        w->wq =
            create<Work>("wq", "aio_kick_handler", Racer::submitter, [w] { aio_kick_handler(w); });
    if (submits) {
        setup.task("io_submit", Racer::submitter, [w] { sys_io_submit(w); });
    } else {
        for (unsigned i = 0; i < w->requests; ++i)
            io_submit_one(w, i);
        if (uses_gadget(w))
            w->req[0]->private_.set(create<KiocbPriv>("kiocb_priv"));
        if (!exits)
            setup.task("io_cancel", Racer::canceller, [w] { sys_io_cancel(w, w->named[0]); });
    }
    if (exits)
        setup.task("exit_aio", Racer::destroyer, [w] { exit_aio(w); });
    else
        setup.task("io_destroy", Racer::destroyer, [w] { sys_io_destroy(w); });
    setup.at_hang([w] { name_missing(w); });
    setup.at_end([w] {
        w->ledger->check();
        outcome("r0=%u/%ld%s r1=%u", w->ledger->events(0), w->ledger->result(0),
                w->ledger->was_cancelled(0) ? " cancelled" : "",
                w->requests > 1 ? w->ledger->events(1) : 0);
    });
}

constexpr Expected lookup_race{
    "reference:users:io_cancel:from-zero",
    "lookup_ioctx() takes a reference after the last was dropped; 3bd9a5d734c7, v2.6.38, \"aio: "
    "fix rcu ioctx lookup\": atomic_inc_not_zero()"};
constexpr Expected event_lost{
    "ledger:r0:no-event",
    "io_cancel() sets KIF_CANCELLED before it knows whether the driver can, and a completion that "
    "is under way then sends nothing; bec68faaf3ba, 2013: the event always comes by the ring"};

const Register registered({
    .name = "2.6.33",
    .about = "ki_users and cancel: the message of 28 April 2010, and gadgetfs",
    .cites = "fs/aio.c, include/linux/aio.h, drivers/usb/gadget/inode.c, v2.6.33",
    .variants =
        {
            {"complete-only",
             "ki_cancel calls aio_complete(): the reference that cancel took stays",
             {{"deadlock:io_destroy>wait", "the message: unkillable in wait_for_all_aios()"},
              {"reference:ki_users:cancel:never-dropped", "aio_cancel_all(): iocb->ki_users++"},
              maybe(lookup_race),
              maybe(event_lost)}},
            {"complete-and-put",
             "aio_complete() and one aio_put_req(): works",
             {lookup_race, event_lost}},
            {"two-puts", "two aio_put_req(), no aio_complete(): works", {lookup_race, event_lost}},
            {"one-put-too-many",
             "aio_complete() and two aio_put_req()",
             {{"use-after-free:kiocb", "the last aio_put_req() is on freed memory"},
              {"reference:ki_users:io:not-held",
               "a cancel that lost to the interrupt holds the kiocb"},
              maybe(lookup_race),
              maybe(event_lost)}},
            {"kick-and-put",
             "kick_iocb() and aio_put_req(): ki_run_list is NULL and the kick queues nothing",
             {{"deadlock:io_destroy>wait", "the message: kick_iocb() fails"},
              {"reference:ki_users:io:never-dropped",
               "aio_run_iocb() set ki_run_list.next = NULL: not empty, so never queued"},
              maybe(lookup_race),
              maybe(event_lost)}},
            {"kick-after-retry",
             "the same in a driver whose aio_read returns -EIOCBRETRY: the kick runs",
             {lookup_race, event_lost}},
            {"kernel-puts",
             "the message's fix in the kernel, and its driver: right",
             {lookup_race, event_lost}},
            {"kernel-puts-gadget",
             "the same fix, and a driver that puts by itself as gadgetfs does",
             {{"reference:ki_users:cancel:not-held",
               "one put too many, and it was the i/o's reference"},
              {"use-after-free:kiocb", "one put too many, and it was on freed memory"},
              lookup_race,
              maybe(event_lost),
              {"use-after-free:kiocb_priv", "see gadget", false},
              {"oops:ep_aio_cancel:private", "see gadget"},
              {"data-race:*", "see gadget", false}}},
            {"gadget",
             "gadgetfs on the kernel as it was: the reference is right, the rest is not",
             {{"use-after-free:kiocb_priv",
               "ep_aio_cancel() reads priv with its lock commented out; FunctionFS had the same "
               "until 24729b307eef"},
              {"oops:ep_aio_cancel:private",
               "ep_aio_complete() sets iocb->private to NULL while cancel holds the kiocb"},
              {"data-race:kiocb.private", "the same"},
              {"data-race:kiocb_priv.req", "the same", false},
              {"data-race:kiocb_priv.epdata", "the same", false},
              lookup_race,
              maybe(event_lost)}},
            {"exit-complete-only",
             "the first, by exit_aio(): the process can never be killed",
             {{"deadlock:exit_aio>wait", "the message"},
              {"reference:ki_users:cancel:never-dropped", "the same reference"}}},
            {"exit-complete-and-put", "the second, by exit_aio(): clean", {}},
            {"submit-against-destroy",
             "io_submit() that has looked up the context before io_destroy() ends",
             {{"contract:__put_ioctx:BUG_ON-reqs_active",
               "the request is queued after the wait; 7137c6bd4552 checks ctx->dead"},
              {"reference:users:io_submit:from-zero", lookup_race.reason},
              {"use-after-free:ctx", "the same as the BUG_ON, met by the interrupt", false},
              {"data-race:ctx.reqs_active", "the same", false}}},
            {"corrected",
             "complete-only on a kernel with the cancel reference dropped by its taker, the lookup "
             "of v2.6.38, 7137c6bd4552, and bec68faaf3ba's event: clean",
             {}},
            {"corrected-exit", "the same, by exit_aio()", {}},
            {"corrected-submit", "the same, io_submit() against io_destroy()", {}},
        },
    .build = build,
    .bounds = {},
});

} // namespace

} // namespace at::model
