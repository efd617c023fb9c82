// IOCB_CMD_POLL from v4.19 to today: Al Viro's message of 7 March 2019 ("Re: [PATCH 1/8] aio: make
// sure file is pinned"), what came before it and what it took afterwards.
//
// Invariant: a request that io_submit() accepted sends one event; it can be cancelled as long as
// it waits; a file that becomes ready completes it; no queue, file or request is touched after it
// was freed. Refused, it sends none.
//
//   submitter   aio_poll: ->poll() puts it on a queue ... looks at the mask ... lists it or not
//   device      wake_up:            aio_poll_wake: completes, or schedules the work
//   work                                      aio_poll_complete_work: asks ->poll() again
//   canceller, destroyer                            aio_poll_cancel, once it is listed
//
// Each pair can meet anywhere: a wake-up before ->poll() has returned, two queues of which only
// the first is taken, an event that ->poll() reports although the wake-up has it already.
//
// Functions and fields are those of fs/aio.c; commits stand at the lines that they changed.
#include "lib/core.hpp"

#include <cerrno>

namespace at::model {

namespace {

constexpr unsigned EPOLLIN = 1, EPOLLOUT = 4, EPOLLHUP = 0x10, POLLFREE = 0x4000;

struct Version {
    bool irqsave = true;          // d3d6a18d7d35: spin_trylock_irqsave in aio_poll_wake (v5.0)
    bool file_pinned = true;      // 84c4e1f89fef: the iocb holds the file to its end (v5.1-rc1)
    bool series = true;           // 2bb874c0d873, af5c72b1fc7a: Viro's (v5.1-rc1)
    bool stays_queued = true;     // 363bee27e258: on the queue until completed (v5.16-rc5)
    bool pollfree = true;         // 50252e4b5e98: POLLFREE (v5.16-rc5)
    bool pollfree_inline = false; // the patch of October 2021 that 50252e4b5e98 speaks of
    enum class Eventfd { completes_inline, inverted, deferred } eventfd = Eventfd::deferred;
    bool reads_after_unlock = false; // 54cbc058d86b, taken back by 28468cbed92e
};

using Eventfd = Version::Eventfd;
constexpr Version v4_20{.irqsave = false,
                        .file_pinned = false,
                        .series = false,
                        .stays_queued = false,
                        .pollfree = false,
                        .eventfd = Eventfd::completes_inline};
constexpr Version v5_0{.file_pinned = false,
                       .series = false,
                       .stays_queued = false,
                       .pollfree = false,
                       .eventfd = Eventfd::completes_inline};
// Between 84c4e1f89fef and the series, "on top of your patch", as the message says.
constexpr Version pinned{.series = false,
                         .stays_queued = false,
                         .pollfree = false,
                         .eventfd = Eventfd::completes_inline};
constexpr Version v5_1{
    .stays_queued = false, .pollfree = false, .eventfd = Eventfd::completes_inline};
constexpr Version v5_15{.stays_queued = false, .pollfree = false, .eventfd = Eventfd::inverted};
constexpr Version inline_pollfree{
    .stays_queued = false, .pollfree = false, .pollfree_inline = true};
constexpr Version only_stays_queued{.pollfree = false};
constexpr Version v6_8_rc{.reads_after_unlock = true};
constexpr Version today{};

struct Wake {
    unsigned key = 0;     // 0: a plain wake_up(), without a mask
    bool readies = false; // the file is ready from here on
};

struct Scene {
    Version version;
    unsigned queues = 1;     // that ->poll() puts it on
    unsigned ready = 0;      // what ->poll() reports from the start
    bool close = false;      // another thread closes the file
    bool queue_dies = false; // wake_up_pollfree(): signalfd, binder
    bool irqs_on = false;    // the waker holds the queue's lock with interrupts on: fuse
    bool eventfd = false;    // polls the eventfd that is also its aio_resfd
    unsigned wakes = 1;
    Wake wake[2] = {};
    bool io_cancel = false;
    bool io_destroy = true; // else the submitter waits in io_getevents()
};

struct World;
struct AioKiocb;

struct WaitQueueHead {
    SpinLock lock{"head->lock"};
    ListNode head{"wait_queue_head"};
};

struct File {
    Refs f_count{"f_count", "fd"};
    Atomic<unsigned> ready{"ready", 0};
    WaitQueueHead* queue[2] = {nullptr, nullptr};
};

void aio_poll_work(AioKiocb& iocb);

struct AioKiocb {
    explicit AioKiocb(World* w) : world(w) {}

    World* const world;
    Refs ki_refcnt{"ki_refcnt", "submit"};
    ListNode ki_list{"ki_list", this};
    Var<bool> ki_cancel{"ki_cancel", false};
    Var<unsigned> ki_res{"ki_res.res", 0};
    // struct poll_iocb
    Atomic<WaitQueueHead*> head{"req->head", nullptr};
    Var<bool> woken{"req->woken", false};                         // to v5.0
    Var<bool> done{"req->done", false};                           // v5.1 to v5.15
    Var<bool> work_scheduled{"req->work_scheduled", false};       // from v5.16
    Var<bool> work_need_resched{"req->work_need_resched", false}; // from v5.16
    Atomic<int> cancelled{"req->cancelled", 0};
    ListNode wait_entry{"req->wait.entry", this};
    Var<bool> put_work{"req->work.func", false}; // aio_poll_put_work in place of the other
    Work work{"poll_work", Racer::device, [this] { aio_poll_work(*this); }};
    bool queued = false; // apt.queued: of the submitter alone
};

struct Kioctx {
    SpinLock ctx_lock{"ctx_lock"};
    ListNode active_reqs{"active_reqs"};
    Atomic<int> reqs{"reqs", 1}; // percpu_ref
    Completion requests_done{"requests_done"};
};

struct World {
    explicit World(const Scene& s) : scene(s) {}

    const Scene& scene;
    const Version& version() const { return scene.version; }
    Kioctx* ctx = nullptr;
    File* file = nullptr;
    Ledger* ledger = nullptr;
    Ledger::Request poll = 0;
    Completion fget{"fget"};   // io_submit() holds the file
    Completion users{"users"}; // io_submit() has dropped its reference to the context
    Atomic<int> tail{"ring->tail", 0};
    WaitQueue wait{"wait"};
    RcuHead free_ioctx_users{"free_ioctx_users", Racer::destroyer, [this] { cancel_all(); }};
    void cancel_all();
};

void put_reqs(World& w) {
    if (w.ctx->reqs.dec_and_test())
        w.ctx->requests_done.complete();
}

void fput(File* file, const char* holder) {
    if (!file->f_count.put(holder))
        return;
    for (WaitQueueHead* queue : file->queue)
        if (queue)
            destroy(queue);
    destroy(file);
}

// eventfd_signal(): the eventfd is the polled file itself, and its counter is what ->poll() sees.
void eventfd_signal(World& w) {
    WaitQueueHead* const wqh = w.file->queue[0];
    wqh->lock.lock_irqsave();
    w.file->ready.write(EPOLLIN);
    wqh->lock.unlock_irqrestore();
}

void post_event(World& w, unsigned res) {
    w.ledger->event(w.poll, long(res));
    w.tail.write_release(1);
    if (w.scene.eventfd)
        eventfd_signal(w);
    w.wait.wake_up();
}

void iocb_destroy(AioKiocb& iocb) {
    World& w = *iocb.world;
    if (w.version().file_pinned)
        fput(w.file, "iocb");
    destroy(&iocb);
    put_reqs(w);
}

void iocb_put(AioKiocb& iocb, const char* holder) {
    if (!iocb.ki_refcnt.put(holder))
        return;
    if (iocb.world->version().series)
        post_event(*iocb.world, iocb.ki_res.get()); // 2bb874c0d873: at the final put
    iocb_destroy(iocb);
}

// To v5.0, aio_complete() and its put.
void aio_poll_complete(AioKiocb& iocb, unsigned mask) {
    World& w = *iocb.world;
    File* const file = w.file;
    post_event(w, mask);
    iocb_put(iocb, "wait");
    if (!w.version().file_pinned)
        fput(file, "iocb");
}

void add_wait_queue(WaitQueueHead& head, AioKiocb& iocb) {
    head.lock.lock_irqsave();
    head.head.add(iocb.wait_entry);
    head.lock.unlock_irqrestore();
}

struct PollTable {
    AioKiocb* iocb;
    int error;
};

void aio_poll_queue_proc(WaitQueueHead& head, PollTable& pt) {
    if (pt.iocb->queued) { // multiple wait queues per file are not supported
        pt.error = -EINVAL;
        return;
    }
    pt.iocb->queued = true;
    pt.error = 0;
    pt.iocb->head.initialise(&head); // published by the queue's lock
    add_wait_queue(head, *pt.iocb);
}

// ->poll() of the file: poll_wait() for each queue, then what is ready.
unsigned vfs_poll(World& w, PollTable* pt) {
    File* const file = w.file;
    for (unsigned i = 0; i < w.scene.queues; ++i) {
        use(file, "private_data");
        if (pt)
            aio_poll_queue_proc(*file->queue[i], *pt);
    }
    return file->ready.read();
}

// Locks the queue if the request is still on it (50252e4b5e98).
bool poll_iocb_lock_wq(AioKiocb& iocb) {
    rcu_read_lock();
    if (WaitQueueHead* const head = iocb.head.read_acquire()) {
        head->lock.lock();
        if (!iocb.wait_entry.empty())
            return true;
        head->lock.unlock();
    }
    rcu_read_unlock();
    return false;
}

void poll_iocb_unlock_wq(AioKiocb& iocb) {
    iocb.head.peek()->lock.unlock();
    rcu_read_unlock();
}

// Before: the queue was taken to live as long as the file.
bool lock_wq(AioKiocb& iocb) {
    if (iocb.world->version().pollfree)
        return poll_iocb_lock_wq(iocb);
    iocb.head.peek()->lock.lock();
    return true;
}

void unlock_wq(AioKiocb& iocb) {
    if (iocb.world->version().pollfree)
        poll_iocb_unlock_wq(iocb);
    else
        iocb.head.peek()->lock.unlock();
}

// False when the request waits on.
bool done_waiting(AioKiocb& iocb, unsigned mask) {
    if (!iocb.world->version().stays_queued) {
        if (mask || iocb.cancelled.read())
            return true;
        add_wait_queue(*iocb.head.peek(), iocb);
        return false;
    }
    if (!lock_wq(iocb))
        return true; // POLLFREE has freed the queue
    if (!mask && !iocb.cancelled.read()) {
        if (iocb.work_need_resched.get()) {
            iocb.work.schedule();
            iocb.work_need_resched.set(false);
        } else {
            iocb.work_scheduled.set(false);
        }
        unlock_wq(iocb);
        return false;
    }
    iocb.wait_entry.del_init();
    unlock_wq(iocb);
    return true;
}

void aio_poll_complete_work(AioKiocb& iocb) {
    World& w = *iocb.world;
    unsigned mask = 0;
    if (!iocb.cancelled.read())
        mask = vfs_poll(w, nullptr) & (EPOLLIN | EPOLLHUP);
    w.ctx->ctx_lock.lock_irq();
    if (!done_waiting(iocb, mask)) {
        w.ctx->ctx_lock.unlock_irq();
        return;
    }
    iocb.ki_list.del_init();
    if (w.version().series) {
        iocb.ki_res.set(mask);
        iocb.done.set(true);
    }
    w.ctx->ctx_lock.unlock_irq();
    if (w.version().series)
        iocb_put(iocb, "wait");
    else
        aio_poll_complete(iocb, mask);
}

void aio_poll_work(AioKiocb& iocb) {
    if (iocb.put_work.get())
        iocb_put(iocb, "wait"); // aio_poll_put_work (01d7a356872e)
    else
        aio_poll_complete_work(iocb);
}

// Under ctx_lock.
void aio_poll_cancel(AioKiocb& iocb) {
    if (!lock_wq(iocb))
        return; // force-cancelled by POLLFREE already
    iocb.cancelled.write(1);
    if (iocb.world->version().stays_queued) {
        if (!iocb.work_scheduled.get()) {
            iocb.work.schedule();
            iocb.work_scheduled.set(true);
        }
    } else if (!iocb.wait_entry.empty()) {
        iocb.wait_entry.del_init();
        iocb.work.schedule();
    }
    unlock_wq(iocb);
}

bool trylock_ctx(World& w, unsigned mask) {
    if (!w.version().irqsave)
        return w.ctx->ctx_lock.trylock();
    SpinLock::irqs_disable();
    if (w.version().pollfree_inline && (mask & POLLFREE)) {
        w.ctx->ctx_lock.lock(); // the queue's lock is held: the wrong order
        return true;
    }
    if (w.ctx->ctx_lock.trylock())
        return true;
    SpinLock::irqs_enable();
    return false;
}

void unlock_ctx(World& w) {
    if (w.version().irqsave)
        w.ctx->ctx_lock.unlock_irqrestore();
    else
        w.ctx->ctx_lock.unlock();
}

// aio_poll_wake() to v5.0. Under the queue's lock, as the others.
void aio_poll_wake_5_0(AioKiocb& iocb, unsigned mask) {
    iocb.woken.set(true); // whatever it was woken for
    if (mask) {
        if (!(mask & (EPOLLIN | EPOLLHUP)))
            return;
        if (trylock_ctx(*iocb.world, mask)) {
            iocb.ki_list.del();
            unlock_ctx(*iocb.world);
            iocb.wait_entry.del_init();
            aio_poll_complete(iocb, mask);
            return;
        }
    }
    iocb.wait_entry.del_init();
    iocb.work.schedule();
}

// `in_eventfd`: the caller is itself within eventfd_signal().
void complete_inline(AioKiocb& iocb, unsigned mask, bool in_eventfd) {
    World& w = *iocb.world;
    iocb.ki_list.del();
    iocb.ki_res.set(mask);
    iocb.done.set(true);
    const bool allowed = !in_eventfd; // eventfd_signal_allowed()
    const bool defer = w.scene.eventfd && (w.version().eventfd == Eventfd::deferred   ? !allowed
                                           : w.version().eventfd == Eventfd::inverted ? allowed
                                                                                      : false);
    if (defer) {
        iocb.put_work.set(true);
        iocb.work.schedule();
    }
    unlock_ctx(w);
    if (!defer)
        iocb_put(iocb, "wait");
}

// v5.1 to v5.15 (af5c72b1fc7a).
void aio_poll_wake_5_1(AioKiocb& iocb, unsigned mask, bool in_eventfd) {
    if (mask && !(mask & (EPOLLIN | EPOLLHUP)))
        return;
    iocb.wait_entry.del_init();
    if (mask && trylock_ctx(*iocb.world, mask))
        complete_inline(iocb, mask, in_eventfd);
    else
        iocb.work.schedule();
}

// From v5.16 (363bee27e258, 50252e4b5e98).
void aio_poll_wake_5_16(AioKiocb& iocb, unsigned mask, bool in_eventfd) {
    if (mask && !(mask & (EPOLLIN | EPOLLHUP)))
        return;
    if (mask && !iocb.work_scheduled.get() && trylock_ctx(*iocb.world, mask)) {
        iocb.wait_entry.del_init();
        complete_inline(iocb, mask, in_eventfd);
        return;
    }
    if (iocb.work_scheduled.get()) {
        iocb.work_need_resched.set(true);
    } else {
        iocb.work.schedule();
        iocb.work_scheduled.set(true);
    }
    if ((mask & POLLFREE) && iocb.world->version().pollfree) {
        iocb.cancelled.write(1);
        iocb.wait_entry.del_init();
        // The last step: from here on the request can be completed and freed.
        iocb.head.write_release(nullptr);
    }
}

// __wake_up_common() for the one entry that can be there.
void wake_locked(World& w, WaitQueueHead& queue, unsigned key, bool in_eventfd) {
    auto* const iocb = queue.head.first<AioKiocb>();
    if (!iocb)
        return;
    if (!w.version().series)
        aio_poll_wake_5_0(*iocb, key);
    else if (!w.version().stays_queued)
        aio_poll_wake_5_1(*iocb, key, in_eventfd);
    else
        aio_poll_wake_5_16(*iocb, key, in_eventfd);
}

void wake_up(World& w, WaitQueueHead& queue, unsigned key, bool in_eventfd) {
    if (w.scene.irqs_on) { // fuse: spin_lock(&fiq->waitq.lock), wake_up_locked()
        queue.lock.lock();
        wake_locked(w, queue, key, in_eventfd);
        queue.lock.unlock();
        return;
    }
    queue.lock.lock_irqsave();
    wake_locked(w, queue, key, in_eventfd);
    queue.lock.unlock_irqrestore();
}

// aio_poll() to v5.0, and the end of __io_submit_one().
int aio_poll_5_0(World& w, AioKiocb& iocb) {
    PollTable apt{&iocb, -EINVAL};
    iocb.ki_refcnt.get("wait"); // refcount_set(&aiocb->ki_refcnt, 2)
    unsigned mask = vfs_poll(w, &apt) & (EPOLLIN | EPOLLHUP);
    if (iocb.queued) {
        w.ctx->ctx_lock.lock_irq();
        iocb.head.peek()->lock.lock();
        if (iocb.woken.get()) { // wake_up context handles the rest
            mask = 0;
            apt.error = 0;
        } else if (mask || apt.error) {
            iocb.wait_entry.del_init();
        } else {
            w.ctx->active_reqs.add_tail(iocb.ki_list);
            iocb.ki_cancel.set(true);
        }
        iocb.head.peek()->lock.unlock();
        w.ctx->ctx_lock.unlock_irq();
    }
    if (apt.error) {
        w.ledger->refused(w.poll);
        fput(w.file, "iocb");
        destroy(&iocb); // out_put_req: kmem_cache_free(), whatever ki_refcnt is
        put_reqs(w);
        return apt.error;
    }
    if (mask)
        aio_poll_complete(iocb, mask);
    iocb_put(iocb, "submit");
    return 0;
}

// From v5.1, and the end of io_submit_one().
int aio_poll(World& w, AioKiocb& iocb) {
    const Version& version = w.version();
    PollTable apt{&iocb, -EINVAL};
    bool cancel = false;
    unsigned mask = vfs_poll(w, &apt) & (EPOLLIN | EPOLLHUP);
    w.ctx->ctx_lock.lock_irq();
    if (iocb.queued) {
        bool on_queue = lock_wq(iocb);
        const bool locked = on_queue;
        if (!version.pollfree)
            on_queue = !iocb.wait_entry.empty();
        const bool woken =
            version.stays_queued ? !on_queue || iocb.work_scheduled.get() : !on_queue;
        if (woken) {
            if (apt.error)
                cancel = true;
            apt.error = 0;
            mask = 0;
        }
        if (mask || apt.error) {
            iocb.wait_entry.del_init(); // steal it
        } else if (cancel) {
            iocb.cancelled.write(1);
        } else if (version.stays_queued ? on_queue : !iocb.done.get()) {
            w.ctx->active_reqs.add_tail(iocb.ki_list);
            iocb.ki_cancel.set(true);
        }
        if (locked)
            unlock_wq(iocb);
    }
    if (mask) {
        iocb.ki_res.set(mask);
        apt.error = 0;
    }
    w.ctx->ctx_lock.unlock_irq();
    if (mask)
        iocb_put(iocb, "wait"); // the stolen reference
    iocb_put(iocb, "submit");
    if (apt.error) {
        w.ledger->refused(w.poll);
        iocb_destroy(iocb);
    }
    return apt.error;
}

int io_submit_one(World& w) {
    w.ctx->reqs.fetch_add(1);
    auto* const iocb = create<AioKiocb>("iocb", &w);
    w.file->f_count.get("iocb"); // fget()
    if (w.scene.close)
        w.fget.complete_all();
    if (!w.version().series)
        return aio_poll_5_0(w, *iocb);
    iocb->ki_refcnt.get("wait"); // 2 from the start (b53119f13a04)
    return aio_poll(w, *iocb);
}

void io_cancel(World& w) {
    w.ctx->ctx_lock.lock_irq();
    auto* const iocb = w.ctx->active_reqs.first<AioKiocb>();
    if (iocb) {
        aio_poll_cancel(*iocb);
        iocb->ki_list.del_init();
    }
    w.ctx->ctx_lock.unlock_irq();
    // 54cbc058d86b: if (ret == 0 && kiocb->rw.ki_flags & IOCB_AIO_RW)
    if (iocb && w.version().reads_after_unlock)
        use(iocb, "rw.ki_flags");
}

// free_ioctx_users(): from the RCU callback of percpu_ref_kill().
void World::cancel_all() {
    ctx->ctx_lock.lock_irq();
    while (auto* const iocb = ctx->active_reqs.first<AioKiocb>()) {
        aio_poll_cancel(*iocb);
        iocb->ki_list.del_init();
    }
    ctx->ctx_lock.unlock_irq();
    put_reqs(*this);
}

void device(World& w) {
    for (unsigned i = 0; i < w.scene.wakes; ++i) {
        const Wake& wake = w.scene.wake[i];
        if (wake.readies)
            w.file->ready.write(EPOLLIN);
        wake_up(w, *w.file->queue[0], wake.key, w.scene.eventfd);
    }
    if (w.scene.close)
        fput(w.file, "device");
}

// wake_up_pollfree(), and the free after a grace period: signalfd_cleanup(), binder_thread.
void queue_dies(World& w) {
    WaitQueueHead* const queue = w.file->queue[0];
    wake_up(w, *queue, EPOLLHUP | POLLFREE, false);
    synchronize_rcu();
    destroy(queue);
}

struct Row {
    Variant variant;
    Scene scene;
};
const std::vector<Row>& rows();

void build(Setup& setup) {
    const Scene& scene = rows()[setup.variant()].scene;
    auto* const w = create<World>("world", scene);
    w->ctx = create<Kioctx>("ctx");
    w->file = create<File>("file");
    w->file->ready.initialise(scene.ready);
    for (unsigned i = 0; i < 2; ++i)
        w->file->queue[i] = create<WaitQueueHead>("waitqueue");
    if (scene.close) // the other end, as of a pipe, keeps the queue until it is done
        w->file->f_count.get("device");
    w->ledger = create<Ledger>("ledger", contract_today);
    w->poll = w->ledger->submitted("poll");

    setup.task("submitter", Racer::submitter, [w] {
        const int ret = io_submit_one(*w);
        w->users.complete_all();
        if (!ret && !w->scene.io_destroy)
            w->wait.wait_event([&] { return w->tail.read_acquire() != 0; },
                               [&] { return w->file->ready.peek() != 0; });
    });
    if (scene.queue_dies)
        setup.task("device", Racer::device, [w] {
            w->users.wait(); // the task that owns the queue is the one that submitted
            queue_dies(*w);
        });
    else if (scene.irqs_on)
        setup.task("device", Racer::device, [w] { device(*w); });
    else if (scene.wakes)
        setup.irq("device", Racer::device, [w] { device(*w); });
    if (scene.close)
        setup.task("closer", Racer::canceller, [w] {
            w->fget.wait(); // before, io_submit() says -EBADF
            fput(w->file, "fd");
        });
    if (scene.io_cancel)
        setup.task("canceller", Racer::canceller, [w] { io_cancel(*w); });
    if (scene.io_destroy)
        setup.task("destroyer", Racer::destroyer, [w] {
            w->users.wait();
            w->free_ioctx_users.call();
            w->ctx->requests_done.wait();
        });
    setup.at_end([w] {
        w->ledger->check();
        outcome("events=%u res=%ld", w->ledger->events(w->poll), w->ledger->result(w->poll));
    });
}

const std::vector<Row>& rows() {
    static const std::vector<Row> all{
        {{"5.0-early-unrelated",
          "a wake-up for another event, before or after ->poll() returns",
          {{"deadlock:destroyer>requests_done",
            "af5c72b1fc7a: woken is set whatever it was for: neither listed nor completed"}}},
         {.version = v5_0, .wake = {{EPOLLOUT, false}}}},
        {{"5.1-early-unrelated", "the same, after the series", {}},
         {.version = v5_1, .wake = {{EPOLLOUT, false}}}},
        {{"today-early-unrelated", "the same, today", {}},
         {.version = today, .wake = {{EPOLLOUT, false}}}},
        {{"5.0-early-plain",
          "a wake-up without a mask, and nothing is ready",
          {{"deadlock:destroyer>requests_done",
            "af5c72b1fc7a: the work puts it back on the queue, and nobody lists it"}}},
         {.version = v5_0, .wake = {{0, false}}, .io_cancel = true}},
        {{"5.1-early-plain", "the same, after the series", {}},
         {.version = v5_1, .wake = {{0, false}}, .io_cancel = true}},
        {{"today-early-plain", "the same, today", {}},
         {.version = today, .wake = {{0, false}}, .io_cancel = true}},
        {{"5.0-early-matching", "a wake-up that completes it", {}},
         {.version = v5_0, .wake = {{EPOLLIN, true}}, .io_cancel = true}},
        {{"5.1-early-matching", "the same, after the series", {}},
         {.version = v5_1, .wake = {{EPOLLIN, true}}, .io_cancel = true}},
        {{"today-early-matching", "the same, today", {}},
         {.version = today, .wake = {{EPOLLIN, true}}, .io_cancel = true}},
        {{"5.0-early-plain-ready", "a wake-up without a mask, and it is ready", {}},
         {.version = v5_0, .wake = {{0, true}}, .io_cancel = true}},
        {{"5.1-early-plain-ready", "the same, after the series", {}},
         {.version = v5_1, .wake = {{0, true}}, .io_cancel = true}},
        {{"today-early-plain-ready", "the same, today", {}},
         {.version = today, .wake = {{0, true}}, .io_cancel = true}},
        {{"5.0-ready", "->poll() reports the event; a wake-up may have it already", {}},
         {.version = v5_0, .ready = EPOLLIN, .wake = {{EPOLLIN, true}}, .io_cancel = true}},
        {{"5.1-ready", "the same, after the series", {}},
         {.version = v5_1, .ready = EPOLLIN, .wake = {{EPOLLIN, true}}, .io_cancel = true}},
        {{"today-ready", "the same, today", {}},
         {.version = today, .ready = EPOLLIN, .wake = {{EPOLLIN, true}}, .io_cancel = true}},
        {{"5.0-ready-unrelated",
          "->poll() reports the event; a wake-up for another comes first",
          {{"deadlock:destroyer>requests_done",
            "af5c72b1fc7a: woken drops the mask that ->poll() has reported"}}},
         {.version = v5_0, .ready = EPOLLIN, .wake = {{EPOLLOUT, false}}}},
        {{"5.1-ready-unrelated", "the same, after the series", {}},
         {.version = v5_1, .ready = EPOLLIN, .wake = {{EPOLLOUT, false}}}},
        {{"today-ready-unrelated", "the same, today", {}},
         {.version = today, .ready = EPOLLIN, .wake = {{EPOLLOUT, false}}}},
        {{"5.0-two-queues",
          "two wait queues; a wake-up without a mask, and nothing is ready",
          {{"deadlock:destroyer>requests_done",
            "af5c72b1fc7a: the error is dropped, the work puts it back, and nobody lists it"}}},
         {.version = v5_0, .queues = 2, .wake = {{0, false}}, .io_cancel = true}},
        {{"5.1-two-queues", "the same, after the series", {}},
         {.version = v5_1, .queues = 2, .wake = {{0, false}}, .io_cancel = true}},
        {{"today-two-queues", "the same, today", {}},
         {.version = today, .queues = 2, .wake = {{0, false}}, .io_cancel = true}},
        {{"5.0-two-queues-matching",
          "two wait queues; the first completes it: too late for an error",
          {}},
         {.version = v5_0, .queues = 2, .wake = {{EPOLLIN, true}}, .io_cancel = true}},
        {{"5.1-two-queues-matching", "the same, after the series", {}},
         {.version = v5_1, .queues = 2, .wake = {{EPOLLIN, true}}, .io_cancel = true}},
        {{"today-two-queues-matching", "the same, today", {}},
         {.version = today, .queues = 2, .wake = {{EPOLLIN, true}}, .io_cancel = true}},
        {{"5.0-two-queues-unrelated",
          "two wait queues; a wake-up for another event",
          {{"deadlock:destroyer>requests_done",
            "af5c72b1fc7a: woken drops the error, and nobody lists it"}}},
         {.version = v5_0, .queues = 2, .wake = {{EPOLLOUT, false}}}},
        {{"5.1-two-queues-unrelated", "the same, after the series", {}},
         {.version = v5_1, .queues = 2, .wake = {{EPOLLOUT, false}}}},
        {{"today-two-queues-unrelated", "the same, today", {}},
         {.version = today, .queues = 2, .wake = {{EPOLLOUT, false}}}},
        {{"5.0-no-queue", "->poll() puts it on no queue", {}},
         {.version = v5_0, .queues = 0, .wakes = 0}},
        {{"5.1-no-queue", "the same, after the series", {}},
         {.version = v5_1, .queues = 0, .wakes = 0}},
        {{"today-no-queue", "the same, today", {}}, {.version = today, .queues = 0, .wakes = 0}},
        {{"5.0-no-queue-ready", "->poll() puts it on no queue and reports the event", {}},
         {.version = v5_0, .queues = 0, .ready = EPOLLIN, .wakes = 0}},
        {{"5.1-no-queue-ready", "the same, after the series", {}},
         {.version = v5_1, .queues = 0, .ready = EPOLLIN, .wakes = 0}},
        {{"today-no-queue-ready", "the same, today", {}},
         {.version = today, .queues = 0, .ready = EPOLLIN, .wakes = 0}},
        {{"5.0-work-scheduled",
          "two wake-ups, the first without a mask; io_cancel and io_destroy",
          {{"deadlock:destroyer>requests_done",
            "af5c72b1fc7a: the work puts it back after the last wake-up, and nobody lists it"}}},
         {.version = v5_0, .wakes = 2, .wake = {{0, false}, {EPOLLIN, true}}, .io_cancel = true}},
        {{"5.1-work-scheduled", "the same, after the series", {}},
         {.version = v5_1, .wakes = 2, .wake = {{0, false}, {EPOLLIN, true}}, .io_cancel = true}},
        {{"today-work-scheduled", "the same, today", {}},
         {.version = today, .wakes = 2, .wake = {{0, false}, {EPOLLIN, true}}, .io_cancel = true}},
        {{"5.0-requeue",
          "a plain wake-up, then the file becomes ready; io_getevents waits",
          {{"lost-wakeup:submitter>wait", "363bee27e258: a wake-up between ->poll() and "
                                          "add_wait_queue() in aio_poll_complete_work"}}},
         {.version = v5_0, .wakes = 2, .wake = {{0, false}, {EPOLLIN, true}}, .io_destroy = false}},
        {{"5.1-requeue",
          "the same, after the series",
          {{"lost-wakeup:submitter>wait", "363bee27e258: a wake-up between ->poll() and "
                                          "add_wait_queue() in aio_poll_complete_work"}}},
         {.version = v5_1, .wakes = 2, .wake = {{0, false}, {EPOLLIN, true}}, .io_destroy = false}},
        {{"today-requeue", "the same, today", {}},
         {.version = today,
          .wakes = 2,
          .wake = {{0, false}, {EPOLLIN, true}},
          .io_destroy = false}},
        {{"5.0-pollfree",
          "the queue dies before the file: wake_up_pollfree()",
          {{"use-after-free:waitqueue",
            "50252e4b5e98: the queue is freed (signalfd, binder) and nothing heeds POLLFREE"}}},
         {.version = v5_0, .queue_dies = true, .io_cancel = true}},
        {{"5.1-pollfree",
          "the same, after the series",
          {{"use-after-free:waitqueue",
            "50252e4b5e98: the queue is freed (signalfd, binder) and nothing heeds POLLFREE"}}},
         {.version = v5_1, .queue_dies = true, .io_cancel = true}},
        {{"today-pollfree", "the same, today", {}},
         {.version = today, .queue_dies = true, .io_cancel = true}},
        {{"5.16-half-pollfree",
          "363bee27e258 without 50252e4b5e98",
          {{"use-after-free:waitqueue",
            "50252e4b5e98: the queue is freed (signalfd, binder) and nothing heeds POLLFREE"}}},
         {.version = only_stays_queued, .queue_dies = true, .io_cancel = true}},
        {{"inline-pollfree",
          "the patch before 50252e4b5e98: complete at once, ctx_lock under the queue's lock",
          {{"deadlock:*", "50252e4b5e98: inverts the order of ctx_lock and the queue's"},
           {"use-after-free:waitqueue", "50252e4b5e98: missed while the request is off the queue",
            false}}},
         {.version = inline_pollfree, .queue_dies = true, .io_cancel = true}},
        {{"5.0-close",
          "close() by another thread; the wake-up completes and drops the file",
          {{"use-after-free:file",
            "84c4e1f89fef (CVE-2019-10125): the wake-up drops the file under ->poll()"},
           {"use-after-free:waitqueue", "84c4e1f89fef: the file's queue goes with it", false}}},
         {.version = v5_0, .queues = 2, .close = true, .wake = {{EPOLLIN, true}}}},
        {{"84c4e1f89fef-close", "the same, the file held by the iocb", {}},
         {.version = pinned, .queues = 2, .close = true, .wake = {{EPOLLIN, true}}}},
        {{"5.1-close", "the same, after the series", {}},
         {.version = v5_1, .queues = 2, .close = true, .wake = {{EPOLLIN, true}}}},
        {{"today-close", "the same, today", {}},
         {.version = today, .queues = 2, .close = true, .wake = {{EPOLLIN, true}}}},
        {{"4.20-fuse",
          "a waker with interrupts on",
          {{"context:ctx.ctx_lock:softirq-unsafe",
            "d3d6a18d7d35: spin_trylock(ctx_lock) with interrupts on"},
           {"context:waitqueue.head->lock:softirq-unsafe",
            "76e43c8ccaa3: fuse holds the queue's lock with interrupts on", false}}},
         {.version = v4_20, .irqs_on = true, .wake = {{EPOLLIN, true}}}},
        {{"5.0-fuse",
          "the same, with spin_trylock_irqsave",
          {{"context:waitqueue.head->lock:softirq-unsafe",
            "76e43c8ccaa3: fuse holds the queue's lock with interrupts on"}}},
         {.version = v5_0, .irqs_on = true, .wake = {{EPOLLIN, true}}}},
        {{"5.1-fuse",
          "the same, after the series",
          {{"context:waitqueue.head->lock:softirq-unsafe",
            "76e43c8ccaa3: fuse holds the queue's lock with interrupts on"}}},
         {.version = v5_1, .irqs_on = true, .wake = {{EPOLLIN, true}}}},
        {{"76e43c8ccaa3-fuse", "fuse wakes by wake_up()", {}},
         {.version = v5_1, .wake = {{EPOLLIN, true}}}},
        {{"5.1-eventfd",
          "polls the eventfd that is its own aio_resfd",
          {{"deadlock:device:head->lock:recursive",
            "01d7a356872e: eventfd_signal() from its own wake-up"}}},
         {.version = v5_1, .eventfd = true, .wake = {{EPOLLIN, true}}}},
        {{"5.15-eventfd",
          "the same; the test is the wrong way round",
          {{"deadlock:device:head->lock:recursive",
            "4b3749865374: eventfd_signal_allowed() inverted"}}},
         {.version = v5_15, .eventfd = true, .wake = {{EPOLLIN, true}}}},
        {{"today-eventfd", "the same, today", {}},
         {.version = today, .eventfd = true, .wake = {{EPOLLIN, true}}}},
        {{"6.8-rc-io-cancel",
          "io_cancel reads the kiocb after ctx_lock",
          {{"use-after-free:iocb", "54cbc058d86b, taken back by 28468cbed92e"}}},
         {.version = v6_8_rc, .wake = {{EPOLLIN, true}}, .io_cancel = true}},
    };
    return all;
}

std::vector<Variant> variants() {
    std::vector<Variant> all;
    for (const Row& row : rows())
        all.push_back(row.variant);
    return all;
}

const Register registered({
    .name = "aio_poll_2019",
    .about = "IOCB_CMD_POLL before and after Viro's series of 2019, and today",
    .cites = "fs/aio.c, v4.20 to v6.8; Al Viro, 2019-03-07",
    .variants = variants(),
    .build = build,
    .bounds = {},
});

} // namespace

} // namespace at::model
