// What disturbers do to the race: the tools that scenarios give their own threads.

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/disturb/disturb.h"
#include "lib/futex.h"
#include "lib/pattern.h"
#include "lib/race_parts.h"

namespace at {

void Race::start_disturbers(std::uint32_t count, Body body) {
    const std::uint32_t first = disturbers_;
    disturbers_ += count;
    start(Role::disturber, count, std::move(body), first);
}

void Race::tell_drawn(const std::string& text) {
    std::snprintf(shared_.drawn, sizeof shared_.drawn, "%s", text.c_str());
    shared_.drawn_told.store(1, std::memory_order_release);
}

void Race::pause(std::uint64_t ns) {
    wait_for_change(shared_.stop, 0, ns);
}

void Race::pause_drawn(Random& random, std::uint32_t least_us, std::uint32_t most_us) {
    const std::uint32_t us = blind_ ? least_us + random.below(most_us - least_us + 1)
                                    : random.logarithmic(least_us, most_us);
    pause(std::uint64_t{us} * 1000);
}

bool Race::requests_in_flight() const {
    for (std::uint32_t i = 0; i < geometry_.contexts; ++i)
        if (shared_.contexts[i].in_flight.load(std::memory_order_acquire) > 0)
            return true;
    return false;
}

void Race::expect_children() {
    children_look_ = true;
    for (Region& region : regions_) {
        const auto from = reinterpret_cast<std::uintptr_t>(region.content(0));
        const std::uintptr_t first = (from + page_bytes - 1) / page_bytes * page_bytes;
        const std::uintptr_t end = (from + region.bytes()) / page_bytes * page_bytes;
        if (end > first && madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTFORK))
            throw_errno("madvise");
    }
}

std::vector<std::uint32_t> Race::reads_not_begun(std::uint32_t most) const {
    std::vector<std::uint32_t> found;
    for (const auto& submitter : submitters_) {
        const std::uint32_t head = submitter->head.load(std::memory_order_acquire);
        const std::uint32_t span = std::min({head, geometry_.depth, recent_kept});
        for (std::uint32_t age = 0; age < span && found.size() < most; ++age) {
            const std::uint32_t index =
                submitter->recent[(head - 1 - age) % recent_kept].load(std::memory_order_relaxed);
            const Slot& slot = shared_.slots[index];
            const std::uint64_t word = slot.word.load(std::memory_order_acquire);
            if (in_flight(state_of(word)) && slot.is_read &&
                slot.op.load(std::memory_order_relaxed) == Op::transfer &&
                !(windows_ && windows_->started(index, generation_of(word))))
                found.push_back(index);
        }
    }
    return found;
}

bool Race::until_somebody_is_in(Call call, std::uint64_t bound_ns) const {
    const std::uint64_t until = monotonic_ns() + bound_ns;
    do {
        const std::uint32_t boards =
            std::min(boards_used_.load(std::memory_order_relaxed), max_threads);
        for (std::uint32_t i = 0; i < boards; ++i)
            if (shared_.threads[i].now_in() == call)
                return true;
        sched_yield();
    } while (!stopped() && monotonic_ns() < until);
    return false;
}

// --- memory --------------------------------------------------------------------------------------

namespace {

bool fresh_pages(std::byte* at, std::size_t bytes) {
    return mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                0) == at;
}

} // namespace

void Race::use_private_buffers() {
    read_only_.reset();
    private_ = PrivateBuffers();
    buffers_private_ = true;
    if (!fresh_pages(buffers_, geometry_.buffers_bytes()))
        throw_errno("mmap of private buffers");
    for (std::uint32_t slot = 0; slot < geometry_.slots; ++slot)
        pattern_fill(canary_of(slot), 0, buffer(slot), geometry_.buffer_stride);
}

bool Race::remap_one(Random& random) {
    const std::uint32_t index = choose_target(random);
    if (index >= max_slots)
        return false;
    Slot& slot = shared_.slots[index];
    const Holding holding(slot);
    const std::uint64_t word = slot.word.load(std::memory_order_seq_cst);
    // Flying: io_submit() has returned, so its pages are pinned.
    if (state_of(word) != SlotState::flying ||
        slot.op.load(std::memory_order_relaxed) != Op::transfer ||
        !take_settling(slot, generation_of(word)))
        return false;

    enum class Change { replaced, discarded, moved, protected_ };
    // A child that looks at its memory must be able to.
    const auto change = static_cast<Change>(random.below(children_look_ ? 3 : 4));
    std::byte* const place = buffer(index);
    const std::size_t bytes = geometry_.buffer_stride;
    std::byte* pages = nullptr; // where the request's pages can be seen from now on
    bool done = false;
    {
        const Calling calling(Call::remap);
        switch (change) {
        case Change::replaced:
            done = fresh_pages(place, bytes);
            break;
        case Change::discarded:
            done = madvise(place, bytes, MADV_DONTNEED) == 0;
            break;
        case Change::moved: {
            void* to = mremap(place, bytes, bytes, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, nullptr);
            // MREMAP_DONTUNMAP leaves the old range mapped and empty, so nobody else gets it.
            done = to != MAP_FAILED;
            pages = done ? static_cast<std::byte*>(to) : nullptr;
            break;
        }
        case Change::protected_:
            done = mprotect(place, bytes, PROT_NONE) == 0;
            pages = place;
            break;
        }
    }
    if (!done) {
        harness_error(std::string("change of a buffer's mapping: ") + std::strerror(errno));
        pages = place;
    }
    if (in_flight(state_of(slot.word.load(std::memory_order_acquire))))
        disturbed(Counter::remapped_inflight);
    // The pages that lie here now are nobody's: the device must not write to them.
    if (pages != place)
        pattern_fill(canary_of(index), 0, place, bytes);
    // Bounded by the supervisor, which abandons the run when an event is overdue.
    while (in_flight(state_of(slot.word.load(std::memory_order_acquire))) &&
           !shared_.abandon.load(std::memory_order_acquire))
        wait_for_change(shared_.abandon, 0, ms / 10);
    if (shared_.abandon.load(std::memory_order_acquire))
        return false;
    if (change == Change::protected_)
        mprotect(place, bytes, PROT_READ | PROT_WRITE);
    settle(index, pages);
    if (change == Change::moved)
        munmap(pages, bytes);
    if (auto finding = judge_quiet_all(index, place, geometry_.buffer_stride,
                                       "its request's pages were unmapped")) {
        finding->evidence.push_back(describe_slot(shared_, index));
        shared_.count(Counter::late_writes);
        shared_.report(*finding);
        pattern_fill(canary_of(index), 0, place, bytes);
    }
    return true;
}

bool Race::move_ring(Random& random) {
    ContextSlot& context = shared_.contexts[random.below(geometry_.contexts)];
    ContextState expected = ContextState::live;
    if (!context.state.compare_exchange_strong(expected, ContextState::moving,
                                               std::memory_order_seq_cst))
        return false;
    // A racer with the old address would hit nothing; those who are inside leave first.
    while (context.users.load(std::memory_order_seq_cst))
        sched_yield();
    auto id = reinterpret_cast<io_context_t>(context.id.load(std::memory_order_relaxed));
    std::string why;
    bool placed = false;
    {
        const Calling calling(Call::remap);
        placed = rings_.place(id, why);
    }
    if (!placed)
        harness_error(why);
    else if (context.in_flight.load(std::memory_order_relaxed) > 0)
        disturbed(Counter::rings_moved);
    context.id.store(reinterpret_cast<std::uint64_t>(id), std::memory_order_relaxed);
    context.state.store(ContextState::live, std::memory_order_seq_cst);
    return placed;
}

// --- one request, many cancellers ----------------------------------------------------------------

void Race::storm_loop(std::uint32_t index, std::uint32_t threads, Random random) {
    std::uint32_t seen = 0;
    while (!stopped()) {
        if (index) {
            while (storm_.load(std::memory_order_acquire) == seen && !stopped())
                sched_yield();
            if (stopped())
                break;
            seen = storm_.load(std::memory_order_acquire);
            cancel_one(storm_target_.load(std::memory_order_relaxed));
            stormed_.fetch_add(1, std::memory_order_acq_rel);
            continue;
        }
        const std::uint32_t target = choose_target(random);
        if (target >= max_slots) {
            pause(ms / 5);
            continue;
        }
        Slot& slot = shared_.slots[target];
        slot.holders.fetch_add(1, std::memory_order_seq_cst); // until all have been at it
        const bool flying = in_flight(state_of(slot.word.load(std::memory_order_seq_cst)));
        if (flying) {
            storm_target_.store(target, std::memory_order_relaxed);
            stormed_.store(0, std::memory_order_relaxed);
            storm_.fetch_add(1, std::memory_order_release);
            cancel_one(target);
            while (stormed_.load(std::memory_order_acquire) + 1 < threads && !stopped())
                sched_yield();
            const std::uint32_t reached = slot.einprogress.load(std::memory_order_relaxed) +
                                          slot.ealready.load(std::memory_order_relaxed);
            // One was first and another came when the request was off the list (or both, which
            // the contract oracle tells when the slot is judged).
            if (reached && slot.einval.load(std::memory_order_relaxed))
                disturbed(Counter::storms);
        }
        slot.holders.fetch_sub(1, std::memory_order_seq_cst);
    }
}

// --- who reads the driver's books ----------------------------------------------------------------

// They take the driver's locks, at the end of a lull too, and go when the device goes.
void Race::start_onlookers() {
    if (setup_.cookie_in_offset && knobs_.real("lull") > 0)
        start_disturbers(1, [this](std::uint32_t, Random) { watch_sleepers(); });
    start_pollers(*this, static_cast<std::uint32_t>(knobs_.integer("pollers")));
    start_mortals(*this, static_cast<std::uint32_t>(knobs_.integer("mortals")));
    if (!knobs_.integer("onlookers"))
        return;
    const std::string name = setup_.device.substr(setup_.device.rfind('/') + 1);
    const std::string folder = "/sys/kernel/debug/zcdma/" + name + "/";
    start_disturbers(
        static_cast<std::uint32_t>(knobs_.integer("onlookers")),
        [this, folder](std::uint32_t, Random random) {
            constexpr const char* files[] = {"books", "books", "books", "engine", "requests"};
            std::vector<char> text(65536);
            while (!stopped()) {
                const std::string path = folder + files[random.below(5)];
                const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
                for (std::uint32_t i = random.below(4); fd && i > 0 && !stopped(); --i) {
                    const Calling calling(Call::read);
                    if (pread(fd.get(), text.data(), text.size(), 0) < 0)
                        break;
                }
                // The books are printed under the driver's locks: a reader without pauses would
                // hold up those whose races are looked for. Only a removal is met at its full
                // speed.
                if (removal_expected_)
                    sched_yield();
                else
                    pause_drawn(random, 1000, 32000);
            }
        });
}

// --- the device goes -----------------------------------------------------------------------------

void Race::expect_removal() {
    permitted_.removal = true;
    permitted_.timeouts = true; // as with the fault `remove`: whoever was in the ring may time out
    removal_expected_ = true;
}

// What was known of a device that has been replaced since is forgotten.
void Race::forget_replaced(const Slot& slot, Region& region) const {
    const std::uint32_t epoch = shared_.device_epoch.load(std::memory_order_seq_cst);
    if (slot.device_epoch == epoch && epoch % 2 == 0)
        return;
    region.unknown(0, region.bytes());
    region.source_length = 0;
}

} // namespace at
