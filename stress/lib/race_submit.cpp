#include "lib/race_parts.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <sched.h>
#include <sys/uio.h>

#include "lib/futex.h"
#include "lib/kioctx.h"
#include "lib/oracles/calls.h"
#include "lib/oracles/timing.h"
#include "lib/pattern.h"

namespace at {

std::uint64_t Race::held_ns() const {
    return shared_.windows.held_ns.load(std::memory_order_relaxed) +
           (stretched_ ? stretched_->ns() : 0);
}

Race::Since Race::since_now() const {
    return {shared_.healthy_ns(), held_ns()};
}

std::uint64_t Race::undisturbed_ns(const Since& since) const {
    const std::uint64_t healthy_ns = shared_.healthy_ns() - since.healthy_ns;
    return healthy_ns - std::min(healthy_ns, held_ns() - since.held_ns);
}

// Did a CPU stand still long enough to explain a time-out?  In one piece, or in many: a host with
// more to do than CPUs takes a guest's away for some tens of milliseconds, again and again.
bool Race::stalled_during(const Slot& slot) const {
    const std::uint64_t healthy_ns = slot.answered_healthy_ns - slot.submitted_healthy_ns;
    const std::uint64_t wall_ns =
        slot.answered_exact_ns - slot.submitted_ns.load(std::memory_order_relaxed);
    if (is_starved(healthy_ns, wall_ns, shared_.timeout_ns))
        return true;
    // Nor does the device while requests ahead of this one are held for a racer, or drawn out.
    if (held_ns() - slot.submitted_held_ns > shared_.timeout_ns / 2)
        return true;
    return stood_still_since(slot.submitted_ns.load(std::memory_order_relaxed));
}

bool Race::stood_still_since(std::uint64_t submitted_ns) const {
    for (std::uint32_t cpu = 0; cpu < shared_.cpus; ++cpu) {
        const Heartbeat& beat = shared_.heartbeats[cpu];
        const std::uint64_t last = beat.last_ns.load(std::memory_order_relaxed);
        const std::uint64_t now = coarse_ns();
        if (last && now > last && now - last > shared_.timeout_ns / 4)
            return true; // standing still at this moment
        for (const Stall& stall : beat.stall)
            if (stall.end_ns.load(std::memory_order_acquire) + shared_.timeout_ns / 4 >=
                    submitted_ns &&
                stall.length_ns.load(std::memory_order_relaxed) > shared_.timeout_ns / 4)
                return true;
    }
    return false;
}

// True when the slot can be used for a new request: the last one was judged and watched.
bool Race::recycle(std::uint32_t index, Random& random) {
    Slot& slot = shared_.slots[index];
    SubmitterState& submitter = *submitters_[index / geometry_.depth];
    std::uint64_t word = slot.word.load(std::memory_order_acquire);
    const std::uint64_t generation = generation_of(word);
    switch (state_of(word)) {
    case SlotState::idle:
        return true;
    case SlotState::answered:
    case SlotState::swept:
    case SlotState::refused: {
        std::uint64_t& dwell = submitter.dwell_until[index % geometry_.depth];
        if (dwell && dwell > coarse_ns())
            return false;
        dwell = 0;
        // Which of the three it was is needed below; res says it: INT64_MIN swept, +1 refused.
        slot.word.store(slot_word(generation, SlotState::retiring), std::memory_order_seq_cst);
        break;
    }
    case SlotState::retiring:
        break;
    default:
        return false;
    }
    if (slot.holders.load(std::memory_order_seq_cst))
        return false;

    if (auto finding = judge_quiet(slot, index, buffer(index), "its request ended")) {
        finding->evidence.push_back(describe_slot(shared_, index));
        shared_.count(Counter::late_writes);
        shared_.report(*finding);
        fill_canary(slot, index, buffer(index));
    }
    const bool swept = slot.res == INT64_MIN;
    const bool refused = slot.res == INT64_MIN + 1;
    if (!swept && !refused) {
        Answer answer;
        answer.res = slot.res == -cancelled_errno_ ? -ECANCELED : slot.res;
        answer.res2 = slot.res2;
        answer.length = slot.length;
        answer.is_read = slot.is_read;
        answer.is_sync = slot.is_sync;
        answer.nowait = slot.nowait;
        answer.op = slot.op.load(std::memory_order_relaxed);
        answer.bad = slot.bad;
        answer.limit = slot.limit;
        answer.poll_events = slot.poll_events;
        if (slot.edge) {
            const std::uint64_t left = slot.device_at < geometry_.device_bytes
                                           ? geometry_.device_bytes - slot.device_at
                                           : 0;
            if (left < slot.length)
                answer.at_device_end =
                    !left && !slot.is_read ? -ENOSPC : static_cast<std::int64_t>(left);
        }
        answer.einprogress = slot.einprogress.load(std::memory_order_relaxed);
        answer.ealready = slot.ealready.load(std::memory_order_relaxed);
        answer.destroyed = slot.destroyed;
        answer.stalled = slot.res == -ETIMEDOUT && stalled_during(slot);
        const auto tell = [&](std::optional<Finding> finding) {
            if (!finding)
                return;
            finding->evidence.push_back(describe_slot(shared_, index));
            shared_.report(*finding);
        };
        tell(judge(answer, permitted_));
        judge_timing(slot, index);
        if (answer.res == -ECANCELED) {
            shared_.count(Counter::cancelled);
            if (answer.einprogress)
                shared_.count(Counter::cancel_won);
        } else {
            shared_.count(Counter::cancel_lost, slot.lost_cancels.load(std::memory_order_relaxed));
            if (answer.res == -ETIMEDOUT) {
                shared_.count(Counter::timeouts);
                const std::uint64_t from_ns = slot.submitted_ns.load(std::memory_order_relaxed);
                if (setup_.cookie_in_offset && !stood_still_since(from_ns))
                    tell(judge_early_timeout(slot.answered_exact_ns - from_ns, shared_.timeout_ns));
                if (!answer.stalled) {
                    shared_.count(Counter::timeouts_bare);
                    note_late(LateKind::timed_out, index, from_ns, monotonic_ns());
                }
                if (answer.stalled && !permitted_.timeouts)
                    shared_.count(Counter::timeouts_stalled);
            } else if (answer.res == -ENODEV) {
                shared_.count(Counter::nodev);
            } else if (answer.res < 0) {
                shared_.count(Counter::errors);
            } else if (answer.op == Op::transfer && answer.res < whole_result(answer)) {
                shared_.count(Counter::short_results);
            } else if (answer.op == Op::transfer && answer.res > 0) {
                shared_.count(Counter::whole_results);
            }
        }
    } else if (swept && slot.einprogress.load(std::memory_order_relaxed) +
                                slot.ealready.load(std::memory_order_relaxed) >
                            1) {
        shared_.report({"contract",
                        "two calls of io_cancel reached one request",
                        "contract/cancelled-twice",
                        {describe_slot(shared_, index)}});
    }
    // One slot in sixteen rests for a while before it is looked at again.
    if (!random.below(16))
        submitter.dwell_until[index % geometry_.depth] = coarse_ns() + (1 + random.below(8)) * ms;
    slot.word.store(slot_word(generation, SlotState::idle), std::memory_order_release);
    return true;
}

// A byte or a page around what a driver counts by: a page, its inline lists, a descriptor, half the
// ring, the ring, the pages of one request.
std::uint32_t Race::length_at_limit(Random& random) const {
    const auto ring = static_cast<std::uint32_t>(knobs_.integer("ring"));
    const std::uint32_t pages[] = {1, 8, 16, ring / 2, ring, target_pages};
    const std::uint32_t fitting = static_cast<std::uint32_t>(
        std::count_if(std::begin(pages), std::end(pages), [&](std::uint32_t count) {
            return (count - 1) * page_bytes < geometry_.max_length;
        }));
    // The largest that fit are as likely as all others.
    std::uint32_t sorted[std::size(pages)];
    std::copy(std::begin(pages), std::end(pages), sorted);
    std::sort(std::begin(sorted), std::end(sorted));
    const std::uint32_t which = random.below(2) ? fitting - 1 : random.below(fitting);
    const std::int64_t exact = std::int64_t{sorted[which]} * page_bytes;
    constexpr std::int64_t beside[] = {-std::int64_t{page_bytes}, -1, 0, 1, page_bytes};
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(
        exact + beside[random.below(std::size(beside))], 1, geometry_.max_length));
}

void Race::draw_request(std::uint32_t index, Random& random, double sync_share) {
    Slot& slot = shared_.slots[index];
    if (std::uint32_t keeper = index; load_keeper_.compare_exchange_strong(keeper, max_slots))
        release_load();
    slot.op.store(Op::transfer, std::memory_order_relaxed);
    slot.bad = false;
    slot.limit = 1U << 30;
    for (auto* stamp : {&slot.flying_ns, &slot.cancel_ns, &slot.einval_ns, &slot.fsynced_ns})
        stamp->store(0, std::memory_order_relaxed);
    slot.file_fsynced.store(false, std::memory_order_relaxed);
    slot.res = 0;
    Region& region = regions_[index];
    forget_replaced(slot, region);
    slot.device_epoch = shared_.device_epoch.load(std::memory_order_seq_cst);
    slot.files_replaced = files_replaced_.load(std::memory_order_seq_cst);
    const std::uint64_t region_at = index * geometry_.region_bytes;
    slot.is_read = random.chance(knobs_.real("read_ratio"));
    slot.is_sync = random.chance(sync_share);
    // Files answer EOPNOTSUPP, or take a part of what is not all there.
    slot.nowait =
        setup_.cookie_in_offset && !slot.is_sync && random.chance(knobs_.real("nowait_ratio"));
    draw_other(index, random);
    if (slot.op.load(std::memory_order_relaxed) != Op::transfer)
        return;
    slot.edge = setup_.cookie_in_offset && random.below(128) == 0;
    std::uint32_t length = random.logarithmic(static_cast<std::uint32_t>(knobs_.integer("min_len")),
                                              geometry_.max_length);
    const std::uint32_t align = geometry_.align;
    const bool fresh = std::exchange(submitters_[index / geometry_.depth]->after_lull, false);
    const bool at_limit =
        setup_.cookie_in_offset && (random.below(16) == 0 || (fresh && random.below(2)));
    if (at_limit)
        length = length_at_limit(random);
    // Where the lists of pages are too long to lie in the request, and the first page is bad too.
    const bool bad = setup_.cookie_in_offset && random.chance(knobs_.real("bad_ratio"));
    const bool long_and_bad = bad && random.below(2);
    if (long_and_bad)
        length = geometry_.max_length / 2 + random.below(geometry_.max_length / 2) + 1;
    // Into a ring that nobody uses: what would wait is refused, and what fits must go through.
    slot.nowait |= setup_.cookie_in_offset && fresh && !slot.is_sync &&
                   knobs_.real("nowait_ratio") > 0 && random.below(2);
    length = rounded(length, align);
    auto aligned_below = [&](std::uint64_t bytes) {
        return std::uint64_t{random.below(static_cast<std::uint32_t>(bytes / align + 1))} * align;
    };
    const std::uint64_t known = region.known_to() - region.known_from();
    if (slot.edge) {
        // Reads across, at and behind the end; writes at and behind it, near and far: an address
        // takes all of the position's bits below the cookie.
        const std::uint32_t before =
            slot.is_read && random.below(4) ? 1 + random.below(std::min(length, page_bytes)) : 0;
        slot.device_at = geometry_.device_bytes - before + (before ? 0 : random.below(3) * 512);
        if (!before && random.below(4) == 0)
            slot.device_at = (std::uint64_t{1} << (32 + random.below(cookie_shift - 32))) +
                             aligned_below(geometry_.device_bytes);
    } else if (slot.is_read && known >= align && !at_limit && random.below(8)) {
        length = static_cast<std::uint32_t>(std::min<std::uint64_t>(length, known));
        slot.device_at = region_at + region.known_from() + aligned_below(known - length);
    } else {
        slot.device_at = region_at + aligned_below(geometry_.region_bytes - length);
    }
    if (setup_.cookie_in_offset && !slot.edge && random.below(256) == 0)
        length = 0;
    slot.length = length;
    slot.segments = 1;
    if (length / align >= max_segments && random.chance(knobs_.real("vectored")) && !long_and_bad) {
        slot.segments = 1 + random.below(max_segments);
        shared_.count(Counter::vectored);
    }
    const double aligned = knobs_.real("aligned");
    std::uint32_t at = random.chance(aligned)
                           ? page_bytes
                           : rounded(guard_bytes + random.below(page_bytes), align);
    std::uint32_t left = length;
    for (std::uint32_t s = 0; s < slot.segments; ++s) {
        const std::uint32_t others = slot.segments - s - 1;
        std::uint32_t piece = others ? (1 + random.below(left / align - others)) * align : left;
        // Some end with a page, so that the next one may begin inside the page that follows.
        const std::uint32_t beyond = (at + piece) % page_bytes;
        if (others && beyond < piece && random.chance(aligned))
            piece -= beyond;
        slot.segment[s] = {at, piece};
        at = rounded(at + piece + segment_gap(random, dma_debug_watches()), align);
        if (random.chance(aligned))
            at = rounded(at, page_bytes);
        left -= piece;
    }
    // In any order of memory: one may begin a page that the one before it ends in.
    for (std::uint32_t s = slot.segments; s > 1 && random.below(2); --s)
        std::swap(slot.segment[s - 1], slot.segment[random.below(s)]);
    if (setup_.cookie_in_offset) {
        const auto ring = static_cast<std::uint32_t>(knobs_.integer("ring"));
        const std::uint32_t pages = std::min(ring, target_pages);
        slot.limit = bytes_in_pages(slot, buffer(index), pages);
        // The last segment moves to the bad memory, where it may touch one page more; a target
        // that takes less than the request at once would not get so far, and answer with a part.
        slot.bad =
            bad && !slot.edge && length && bytes_in_pages(slot, buffer(index), pages - 1) == length;
    }
    if (random.below(16) == 0) // each costs every CPU of the process an interrupt
        private_.renew(index, buffer(index), random);
}

void Race::prepare_iocb(std::uint32_t index, std::uint64_t generation) {
    Slot& slot = shared_.slots[index];
    std::byte* memory = buffer(index);
    if (!slot.is_read) {
        const std::uint64_t payload = stamp(Stamp::payload, index, generation);
        std::size_t done = 0;
        for (std::uint32_t s = 0; s < slot.segments; ++s) {
            pattern_fill(payload, done, memory + slot.segment[s].at, slot.segment[s].length);
            done += slot.segment[s].length;
        }
    }
    Random random(setup_.plan.seed, index, generation);
    iovec* vector = &iovecs_[std::size_t{index} * max_iovecs];
    // What is written to the device may lie in memory that can only be read.
    std::byte* seen = memory;
    if (!slot.is_read && read_only_ && !private_.covers(index) && random.below(8) == 0)
        seen = read_only_->at(static_cast<std::size_t>(memory - buffers_));
    for (std::uint32_t s = 0; s < slot.segments; ++s)
        vector[s] = {seen + slot.segment[s].at, slot.segment[s].length};
    if (slot.bad) {
        iovec& last = vector[slot.segments - 1];
        last.iov_base =
            bad_memory_.place(slot.segment[slot.segments - 1].length, slot.is_read, random);
        shared_.count(Counter::bad_buffers);
    }
    const std::uint64_t offset =
        slot.device_at |
        (setup_.cookie_in_offset ? cookie_of(index, generation) << cookie_shift : 0);
    const int fd = devices_[index / geometry_.depth % geometry_.devices].get();
    iocb& cb = iocbs_[index];
    const auto at = static_cast<long long>(offset);
    if (const Op op = slot.op.load(std::memory_order_relaxed); op == Op::poll) {
        io_prep_poll(&cb, fd, slot.poll_events);
    } else if (op == Op::fsync) {
        io_prep_fsync(&cb, fd);
    } else if (op == Op::fdsync) {
        io_prep_fdsync(&cb, fd);
    } else if (slot.segments > 1) {
        int segments = static_cast<int>(slot.segments);
        if (random.below(4) == 0) { // one that is empty, at any place
            const std::uint32_t place = random.below(slot.segments + 1);
            std::move_backward(vector + place, vector + segments, vector + segments + 1);
            vector[place] = {seen, 0};
            ++segments;
        }
        if (slot.is_read)
            io_prep_preadv(&cb, fd, vector, segments, at);
        else
            io_prep_pwritev(&cb, fd, vector, segments, at);
    } else if (slot.is_read) {
        io_prep_pread(&cb, fd, vector[0].iov_base, vector[0].iov_len, at);
    } else {
        io_prep_pwrite(&cb, fd, vector[0].iov_base, vector[0].iov_len, at);
    }
    if (slot.op.load(std::memory_order_relaxed) == Op::transfer)
        cb.aio_rw_flags = slot.nowait ? RWF_NOWAIT : 0;
    cb.data = reinterpret_cast<void*>(user_data_of(index, generation));
}

void Race::synchronous(std::uint32_t index) {
    Slot& slot = shared_.slots[index];
    slot.submitted_ns.store(coarse_ns(), std::memory_order_relaxed);
    slot.submitted_healthy_ns = shared_.healthy_ns();
    slot.submitted_held_ns = held_ns();
    const iocb& cb = iocbs_[index];
    const iovec* vector = &iovecs_[std::size_t{index} * max_iovecs];
    const int segments = slot.segments > 1 ? static_cast<int>(cb.u.c.nbytes) : 1;
    ssize_t got = 0;
    {
        const Calling calling(slot.is_read ? Call::pread : Call::pwrite);
        got = slot.is_read ? preadv(cb.aio_fildes, vector, segments, cb.u.c.offset)
                           : pwritev(cb.aio_fildes, vector, segments, cb.u.c.offset);
    }
    begun_ns_.store(monotonic_ns(), std::memory_order_relaxed);
    slot.res = got < 0 ? -errno : got;
    slot.res2 = 0;
    slot.destroyed = false;
    slot.answered_healthy_ns = shared_.healthy_ns();
    slot.answered_exact_ns = monotonic_ns();
    shared_.count(Counter::sync_ios);
    settle(index, buffer(index));
    slot.word.store(
        slot_word(generation_of(slot.word.load(std::memory_order_relaxed)), SlotState::answered),
        std::memory_order_release);
}

void Race::refuse(std::uint32_t index) {
    const Slot& slot = shared_.slots[index];
    if (state_of(slot.word.load(std::memory_order_acquire)) == SlotState::prepared && !slot.is_read)
        fill_canary(slot, index, buffer(index)); // it never reached the driver
    book_refused(shared_, index);
}

std::size_t Race::submit_batch(std::vector<std::uint32_t>& slots, Random& random,
                               std::uint32_t context_wanted) {
    iocb* pointers[128];
    const std::uint32_t context_index = context_wanted == max_contexts
                                            ? draw_context(shared_, geometry_.contexts, random)
                                            : context_wanted;
    ContextSlot& context = shared_.contexts[context_index];
    const Inside inside(context);
    if (!inside)
        return 0;
    const std::uint32_t incarnation = context.incarnation.load(std::memory_order_relaxed);
    SubmitterState& submitter = *submitters_[slots[0] / geometry_.depth];
    const std::uint64_t now = coarse_ns();
    const std::uint64_t healthy_ns = shared_.healthy_ns();
    long count = 0;
    for (const std::uint32_t index : slots) {
        Slot& slot = shared_.slots[index];
        const std::uint64_t generation = generation_of(slot.word.load(std::memory_order_relaxed));
        slot.context.store(context_index, std::memory_order_relaxed);
        slot.incarnation.store(incarnation, std::memory_order_relaxed);
        slot.submitted_ns.store(now, std::memory_order_relaxed);
        slot.submitted_healthy_ns = healthy_ns;
        slot.submitted_held_ns = held_ns();
        slot.settler.store(generation << 8, std::memory_order_relaxed);
        // release: a reaper that counts this generation's first event sees the slot whole.
        slot.events.store(generation << 8, std::memory_order_release);
        slot.word.store(slot_word(generation, SlotState::prepared), std::memory_order_seq_cst);
        pointers[count++] = &iocbs_[index];
        const std::uint32_t head = submitter.head.load(std::memory_order_relaxed);
        submitter.recent[head % recent_kept].store(index, std::memory_order_relaxed);
        submitter.head.store(head + 1, std::memory_order_release);
    }
    context.in_flight.fetch_add(static_cast<std::int32_t>(count), std::memory_order_acq_rel);
    if (windows_ && windows_->wanted())
        name_requests(slots, random);
    // Cancellers wake before the call, to meet requests that are being submitted, or after it.
    const bool early = random.below(2);
    auto announce = [&] {
        submissions_.fetch_add(1, std::memory_order_release);
        if (submission_waiters_.load(std::memory_order_relaxed))
            wake(submissions_, 1);
    };
    if (early)
        announce();
    const long to_cancel = cancellers_ && scarce_outcome() == Sought::win ? 1 + random.below(4) : 0;
    const BesideNowait beside = beside_nowait(slots);
    int answer = 0;
    {
        const Calling calling(Call::io_submit);
        answer = io_submit(inside.id(), count, pointers);
    }
    if (!beside.others.empty() || beside.halted)
        judge_nowaits(slots, beside);
    // On one CPU, or a slow host, no other thread gets to run before the device is done: the
    // submitter itself is the canceller that comes soonest, to the requests that end last.
    for (long i = answer; i > 0 && i > answer - to_cancel; --i)
        if (const std::uint32_t last = slots[static_cast<std::size_t>(i - 1)];
            !windows_ || !windows_->is_awaited(last))
            cancel_one(last);
    if (answer > 0 && behind_pace())
        if (const std::uint32_t target = choose_target(random); target < max_slots)
            cancel_one(target);
    const std::uint64_t flying_ns = monotonic_ns();
    begun_ns_.store(flying_ns, std::memory_order_relaxed);
    const std::uint64_t flying_healthy_ns = shared_.healthy_ns();
    shared_.count(Counter::submit_calls);
    const long accepted = std::max(answer, 0);
    for (long i = 0; i < count; ++i) {
        const std::uint32_t request = slots[static_cast<std::size_t>(i)];
        Slot& slot = shared_.slots[request];
        if (i >= accepted) {
            refuse(request);
            continue;
        }
        // Of no use to an event that was faster: it has waited for nothing.
        slot.flying_healthy_ns.store(flying_healthy_ns, std::memory_order_relaxed);
        slot.flying_ns.store(flying_ns, std::memory_order_relaxed);
        book_flying(shared_, request);
        shared_.count(slot.is_read ? Counter::reads : Counter::writes);
    }
    book_accepted(shared_, static_cast<std::uint64_t>(accepted));
    if (!early)
        announce();
    const bool live = context.state.load(std::memory_order_seq_cst) == ContextState::live;
    // One that would have to sleep on two wait queues (fs/aio.c, aio_poll_queue_proc()).
    const bool poll_refused =
        answer == -EINVAL && shared_.slots[slots[0]].op.load(std::memory_order_relaxed) == Op::poll;
    if (const auto finding = judge_submit(answer, !live || poll_refused))
        shared_.report(*finding);
    return static_cast<std::size_t>(accepted);
}

// The slot's next request, if it is free and does not rest.
bool Race::prepare_next(std::uint32_t slot, Random& random, double sync_share) {
    if (!recycle(slot, random))
        return false;
    Slot& s = shared_.slots[slot];
    std::uint64_t& dwell_until =
        submitters_[slot / geometry_.depth]->dwell_until[slot % geometry_.depth];
    if (dwell_until > coarse_ns())
        return false;
    if (std::exchange(dwell_until, 0)) {
        shared_.count(Counter::watched_again);
        if (auto finding = judge_quiet(s, slot, buffer(slot), "its request ended")) {
            finding->evidence.push_back(describe_slot(shared_, slot));
            shared_.count(Counter::late_writes);
            shared_.report(*finding);
            fill_canary(s, slot, buffer(slot));
        }
    }
    const std::uint64_t generation = generation_of(s.word.load(std::memory_order_relaxed)) + 1;
    draw_request(slot, random, sync_share);
    for (auto* count : {&s.einprogress, &s.ealready, &s.einval, &s.lost_cancels})
        count->store(0, std::memory_order_relaxed);
    prepare_iocb(slot, generation);
    s.word.store(slot_word(generation, s.is_sync ? SlotState::sync : SlotState::idle),
                 std::memory_order_release);
    return true;
}

void Race::submit_loop(std::uint32_t index, Random random) {
    SubmitterState& submitter = *submitters_[index];
    const auto max_batch = static_cast<std::uint32_t>(knobs_.integer("batch"));
    std::vector<std::uint32_t> batch;
    batch.reserve(max_batch);
    std::uint32_t cursor = 0;
    WindowRacer racer(geometry_.submitters > 1 ? windows_.get() : nullptr, Racer::submitter);
    while (!stopped()) {
        const std::uint32_t seen = submitter.answered.load(std::memory_order_acquire);
        const std::uint32_t wanted = random.logarithmic(1, std::min(max_batch, geometry_.depth));
        batch.clear();
        for (std::uint32_t i = 0; i < geometry_.depth && batch.size() < wanted; ++i) {
            const std::uint32_t slot = index * geometry_.depth + cursor;
            cursor = (cursor + 1) % geometry_.depth;
            if (!prepare_next(slot, random, sync_ratio_))
                continue;
            if (shared_.slots[slot].is_sync)
                synchronous(slot);
            else
                batch.push_back(slot);
        }
        if (batch.empty()) {
            submitter.waiting.store(1, std::memory_order_relaxed);
            wait_for_change(submitter.answered, seen, ms);
            submitter.waiting.store(0, std::memory_order_relaxed);
            continue;
        }
        const bool placed = enlist(racer, random, submitters_share);
        Calling::place(placed ? &racer : nullptr, Call::io_submit);
        std::uint32_t context = placed ? racer.target().context : max_contexts;
        while (!stopped() && !batch.empty()) {
            if (submit_batch(batch, random, std::exchange(context, max_contexts)) == 0 &&
                shared_.slots[batch[0]].word.load(std::memory_order_relaxed) % 256 ==
                    static_cast<std::uint8_t>(SlotState::idle)) {
                sched_yield(); // that context is gone; another
                continue;
            }
            batch.clear();
        }
        if (placed)
            end_placement(racer);
        // Drawn but not submitted: the payload of a write goes back to the canary, before a lull
        // draws the slot again.
        for (const std::uint32_t slot : batch)
            fill_canary(shared_.slots[slot], slot, buffer(slot));
        batch.clear();
        if (setup_.cookie_in_offset && !stopped()) {
            // One that waits beside others leaves it to these to go on.
            if (random.chance(knobs_.real("fsync_ratio")) &&
                load_.load(std::memory_order_relaxed) != Load::kept)
                sync_file(index, random);
            if (random.chance(knobs_.real("position_ratio")))
                read_at_position(index, random);
        }
        if (lulls_.load(std::memory_order_relaxed) || random.chance(knobs_.real("lull")))
            lull(index, random, racer);
    }
}

} // namespace at
