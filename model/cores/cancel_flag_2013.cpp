// The cancelled flag and io_cancel_sane(), as K. Overstreet and Z. Brown sketched them on
// linux-fsdevel in February 2013: struct bio has `bool *cancelled`, which points at the kiocb's
// flag; who clones a bio copies the pointer. The flag "doesn't mean 'this bio has been cancelled',
// it means 'please try to cancel this bio'. We don't know if the bio was succesfully cancelled
// until the bio is completed". It was never merged; there is no kernel source to cite but the text
// and what it builds on: fs/direct-io.c, fs/bio.c, mm/bounce.c, drivers/md/raid5.c, v3.8.
//
//   write of two sectors:  kiocb -- bio --+-- clone --------------- disk 0
//                                         `-- clone -- bounced ---- disk 1 (by kblockd)
//   write to a raid5:      kiocb -- bio --+-- data member write --- disk 0
//                                         `-- parity member write - disk 1 (by kblockd)
//
// Invariant: one event for each request, by the ring; it says -ECANCELED only when something was
// not written, and success only when all was; parity is written when its data is; nobody reads the
// flag after the kiocb has gone.
#include "lib/core.hpp"

namespace at::model {

namespace {

enum : unsigned {
    flag,
    result_from_flag,
    kif_cancel,
    last_status_wins,
    first_error_ends,
    flags_after_unlock,
    io_cancel_waits,
    io_cancel_returns,
    md,
    md_checks_itself,
    md_copies_pointer,
};

constexpr long EAGAIN_ = -11, ECANCELED_ = -125;
constexpr long transferred = 1024;
constexpr unsigned disks = 2;

struct World;
struct Bio;

// io_cancel(), which is to be answered by the completion.
struct CancelWait {
    Completion done{"cancel_done"};
    Var<long> ret{"ret", 0};
};

struct Kiocb {
    explicit Kiocb(World* world) : w(world) {}
    World* w;
    ListNode ki_list{"ki_list", this}; // under ctx_lock
    Atomic<bool> cancelled{"cancelled",
                           false}; // "With lots of comments that it being racey is fine"
    Var<CancelWait*> waiter{"waiter", nullptr}; // under ctx_lock
    Refs ki_users{"ki_users", "submit"};
};

struct Kioctx {
    SpinLock ctx_lock{"ctx_lock"};
    ListNode active_reqs{"active_reqs"};
};

struct Bio {
    Bio(World* world, Bio* above, Atomic<bool>* pointer, unsigned where)
        : w(world), parent(above), cancelled(pointer), disk(where) {}
    World* w;
    Bio* parent;             // bi_private of a clone; null: fs/direct-io.c's own
    Atomic<bool>* cancelled; // the proposal's `bool *cancelled`
    unsigned disk;
    Atomic<int> bi_remaining{"bi_remaining", 1};
    Atomic<long> error{"bi_error", 0};
    Atomic<bool> ended{"ended", false}; // of the broken layer alone
};

struct Disk {
    Var<Bio*> request{"request", nullptr};
    Var<int> sector{"sector", 0};
    Interrupt* irq = nullptr;
};

struct World {
    unsigned variant;
    Kioctx* ctx;
    Kiocb* kiocb;
    Ledger* ledger;
    Ledger::Request r0;
    Disk disk[disks];
    Var<Bio*> deferred{"kblockd_list", nullptr};
    Work* kblockd = nullptr;
};

void put_kiocb(Kiocb* kiocb, const char* holder) {
    if (kiocb->ki_users.put(holder))
        destroy(kiocb);
}

// fs/aio.c, aio_complete(), with the event always by the ring.
void aio_complete(Kiocb* kiocb, long res) {
    World* const w = kiocb->w;
    Kioctx* const ctx = w->ctx;
    ctx->ctx_lock.lock_irqsave();
    kiocb->ki_list.del();
    CancelWait* const waiter = kiocb->waiter.get();
    bool sends = true;
    switch (w->variant) {
    case result_from_flag:
        if (kiocb->cancelled.read())
            res = ECANCELED_;
        break;
    case kif_cancel:
        sends = !kiocb->cancelled.read(); // 2.6.33: if (kiocbIsCancelled(iocb)) goto put_rq;
        break;
    case io_cancel_waits:
        sends = !(waiter && res == ECANCELED_);
        break;
    default:
        break;
    }
    if (sends)
        w->ledger->event(w->r0, res);
    if (waiter) {
        waiter->ret.set(sends ? EAGAIN_ : 0);
        waiter->done.complete();
    }
    ctx->ctx_lock.unlock_irqrestore();
    put_kiocb(kiocb, "io");
}

// The broken layer: the first error goes up at once, what ends later is only counted.
void end_with_first_error(Bio* bio, long error) {
    World* const w = bio->w;
    bool first = error && !bio->ended.xchg(true);
    if (bio->bi_remaining.dec_and_test()) {
        if (!error)
            first = !bio->ended.xchg(true);
        destroy(bio);
    }
    if (first)
        aio_complete(w->kiocb, error ? error : transferred);
}

// fs/bio.c, bio_endio(): an error ends what it belongs to, but not before the other parts have.
void bio_endio(Bio* bio, long error) {
    World* const w = bio->w;
    if (w->variant == last_status_wins)
        bio->error.xchg(error);
    else if (error)
        bio->error.cmpxchg(0, error);
    if (w->variant == first_error_ends && !bio->parent) {
        end_with_first_error(bio, error);
        return;
    }
    if (!bio->bi_remaining.dec_and_test())
        return;
    const long status = bio->error.read();
    if (bio->parent) {
        Bio* const parent = bio->parent;
        destroy(bio);
        bio_endio(parent, status);
        return;
    }
    destroy(bio);
    aio_complete(w->kiocb, status ? status : transferred); // fs/direct-io.c, dio_complete()
}

// What a disk's queue does with a request: the last place where it can be stopped.
void dispatch(Bio* bio) {
    World* const w = bio->w;
    if (bio->cancelled && bio->cancelled->read()) {
        bio_endio(bio, ECANCELED_);
        return;
    }
    Disk& disk = w->disk[bio->disk];
    disk.request.set(bio);
    disk.irq->raise();
}

void disk_interrupt(World* w, unsigned number) {
    Disk& disk = w->disk[number];
    Bio* const bio = disk.request.get();
    disk.sector.set(1);
    bio_endio(bio, 0);
}

// "when a bio is cloned we can copy the pointer too and cancellation magically Just Works"
Bio* bio_clone(Bio* bio, Atomic<bool>* pointer, unsigned disk) {
    return create<Bio>("clone", bio->w, bio, pointer, disk);
}

void defer(Bio* bio) {
    bio->w->deferred.set(bio);
    bio->w->kblockd->schedule();
}

// drivers/md/dm-stripe.c and mm/bounce.c: two parts, one of which is bounced.
void make_request_stacked(Bio* bio) {
    bio->bi_remaining.initialise(disks);
    Bio* const low = bio_clone(bio, bio->cancelled, 0);
    Bio* const high = bio_clone(bio, bio->cancelled, 1);
    defer(bio_clone(high, high->cancelled, 1));
    dispatch(low);
}

// drivers/md/raid5.c: "For md writes and probably some other things we won't be able to just
// blindly copy the pointer as that'd fuck up md's parity stuff, but md could still check the flag
// itself if it was worth the trouble."
void make_request_raid5(Bio* bio) {
    World* const w = bio->w;
    if (w->variant == md_checks_itself && bio->cancelled->read()) {
        bio_endio(bio, ECANCELED_); // the whole stripe, before any of it
        return;
    }
    Atomic<bool>* const pointer = w->variant == md_copies_pointer ? bio->cancelled : nullptr;
    bio->bi_remaining.initialise(disks);
    Bio* const data = bio_clone(bio, pointer, 0);
    defer(bio_clone(bio, pointer, 1));
    dispatch(data);
}

void io_submit_one(World* w) {
    Kiocb* const kiocb = w->kiocb;
    auto* const bio = create<Bio>("bio", w, nullptr, &kiocb->cancelled, 0u);
    if (w->variant >= md)
        make_request_raid5(bio);
    else
        make_request_stacked(bio);
    put_kiocb(kiocb, "submit");
}

Kiocb* lookup_kiocb(World* w) {
    return w->ctx->active_reqs.first<Kiocb>();
}

// "a new io_cancel_sane() syscall that doesn't return anything, and only marks the iocb as
// 'cancellation pending'. The completion would still get returned via io_getevents()"
void io_cancel_sane(World* w) {
    Kioctx* const ctx = w->ctx;
    ctx->ctx_lock.lock_irq();
    Kiocb* const kiocb = lookup_kiocb(w);
    if (w->variant == flags_after_unlock) {
        ctx->ctx_lock.unlock_irq();
        if (kiocb)
            kiocb->cancelled.write(true);
        return;
    }
    if (kiocb)
        kiocb->cancelled.write(true);
    ctx->ctx_lock.unlock_irq();
}

// The old call on top of the flag: "if io_cancel() is going to succeed it has to block until the
// io has been cancelled and it's got a completion".
void io_cancel(World* w) {
    Kioctx* const ctx = w->ctx;
    auto* const wait = create<CancelWait>("cancel_wait");
    ctx->ctx_lock.lock_irq();
    Kiocb* const kiocb = lookup_kiocb(w);
    if (kiocb) {
        kiocb->cancelled.write(true);
        if (w->variant == io_cancel_waits)
            kiocb->waiter.set(wait);
    }
    ctx->ctx_lock.unlock_irq();
    if (!kiocb)
        return;
    if (w->variant == io_cancel_waits) {
        wait->done.wait();
        if (wait->ret.get() == 0)
            w->ledger->cancelled(w->r0);
    } else {
        w->ledger->cancelled(w->r0); // it was asked for, so it is said to be done
    }
}

void check(World* w) {
    w->ledger->check();
    const bool first = w->disk[0].sector.get();
    const bool second = w->disk[1].sector.get();
    const bool answered = w->ledger->was_cancelled(w->r0); // by io_cancel()
    if (!answered && !w->ledger->events(w->r0))
        return;
    const long res = answered ? ECANCELED_ : w->ledger->result(w->r0);
    if (w->variant >= md)
        require(first == second, "data", "stripe:parity-torn",
                "one of a stripe's data and parity was written and the other dropped");
    require(res != transferred || (first && second), "data", "r0:claims-dropped",
            "the event says that all was written, and a part was dropped");
    require(res != ECANCELED_ || !(first && second), "data", "r0:denies-written",
            "the event says cancelled, and all was written");
    outcome("%ld%s disks %d%d", res, answered ? " by io_cancel" : "", first, second);
}

void build(Setup& setup) {
    const unsigned variant = setup.variant();
    const bool old_call = variant == io_cancel_waits || variant == io_cancel_returns;
    auto* const w = create<World>("world");
    w->variant = variant;
    w->ctx = create<Kioctx>("ctx");
    w->kiocb = create<Kiocb>("kiocb", w);
    w->kiocb->ki_users.get("io");
    w->ctx->active_reqs.add(w->kiocb->ki_list);
    w->ledger = create<Ledger>("ledger", old_call ? contract_2_6_33 : contract_today);
    w->r0 = w->ledger->submitted("r0");
    w->disk[0].irq =
        create<Interrupt>("irq", "disk0", Racer::device, [w] { disk_interrupt(w, 0); });
    w->disk[1].irq =
        create<Interrupt>("irq", "disk1", Racer::device, [w] { disk_interrupt(w, 1); });
    w->kblockd =
        create<Work>("work", "kblockd", Racer::device, [w] { dispatch(w->deferred.get()); });
    setup.task("io_submit", Racer::submitter, [w] { io_submit_one(w); });
    if (old_call)
        setup.task("io_cancel", Racer::canceller, [w] { io_cancel(w); });
    else
        setup.task("io_cancel_sane", Racer::canceller, [w] { io_cancel_sane(w); });
    setup.at_end([w] { check(w); });
}

const Register registered({
    .name = "2013-flag",
    .about = "a pointer to one cancelled flag in every clone, and io_cancel_sane()",
    .cites = "linux-fsdevel, 8 February 2013; fs/direct-io.c, fs/bio.c, mm/bounce.c, v3.8",
    .variants =
        {
            {"flag", "the proposal over a stacking and a bouncing layer: clean", {}},
            {"result-from-flag",
             "the completion takes the flag for the result",
             {{"data:r0:denies-written", "\"it _doesn't_ mean 'this bio has been cancelled'\""}}},
            {"kif-cancel",
             "the flag as KIF_CANCEL: \"this kiocb _has been cancelled_\", and sends no event",
             {{"ledger:r0:no-event", "the contrast that the text draws; 2.6.33 does this"}}},
            {"last-status-wins",
             "a parent takes the status of the part that ends last",
             {{"data:r0:claims-dropped", "\"one cancelled iocb flag many submitted bios\": some "
                                         "are dropped and some are not"}}},
            {"first-error-ends",
             "a layer ends its bio with the first part that was cancelled",
             {
                 {"use-after-free:kiocb",
                  "\"match the lifetime rules of this reference with end_io's "
                  "using the iocb\": the other part still looks at the flag"},
             }},
            {"flags-after-unlock",
             "io_cancel_sane() sets the flag when it no longer holds ctx_lock",
             {{"use-after-free:kiocb", "the request may complete in between"}}},
            {"io-cancel-waits", "the old io_cancel() over the flag, which blocks: clean", {}},
            {"io-cancel-returns",
             "the old io_cancel() over the flag, which answers at once",
             {{"ledger:r0:event-after-cancel", "\"it has to block until the io has been "
                                               "cancelled\""}}},
            {"md", "raid5 does not hand the pointer down: clean, and never cancelled", {}},
            {"md-checks-itself", "raid5 looks once, before the stripe: clean", {}},
            {"md-copies-pointer",
             "raid5 blindly copies the pointer",
             {{"data:stripe:parity-torn", "\"that'd fuck up md's parity stuff\""}}},
        },
    .build = build,
    .bounds = {},
});

} // namespace

} // namespace at::model
