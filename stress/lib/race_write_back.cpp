// What disturbers do to buffers in a file under write-back.
#include "lib/race_parts.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>

#include <sys/mman.h>

#include "lib/futex.h"

namespace at {

namespace {

constexpr std::uint32_t looked_back = 24; // submissions of one submitter, the last first
// Taken at once: on a guest's few CPUs each wait for one's turn costs more than the work.
constexpr std::uint32_t most_taken = 12;
// The driver lets go of pages after its event, and dirties them in a work item.
constexpr std::uint32_t drop_tries = 6;

std::uint32_t first_byte(const Slot& slot) {
    return slot.segment[0].at;
}

// From the first segment's begin to the last one's end: segments lie in order.
std::uint32_t spanned(const Slot& slot) {
    const Segment& last = slot.segment[slot.segments - 1];
    return std::max(last.at + last.length - slot.segment[0].at, 1U);
}

std::uint32_t pages_spanned(const Slot& slot) {
    return (first_byte(slot) % page_bytes + spanned(slot) + page_bytes - 1) / page_bytes;
}

// All at once: write-back takes each page's write access from it, and asks every other CPU to
// forget it, page by page (mm/rmap.c, page_mkclean_one()); a guest's CPU that its host has set
// aside answers after milliseconds.
void out_of_page_tables(std::byte* from, std::size_t bytes) {
    if (madvise(from, bytes, MADV_DONTNEED))
        throw_errno("madvise");
}

} // namespace

bool Race::use_written_back_buffers(std::string& why) {
    std::vector<bool> chosen(geometry_.slots);
    for (std::uint32_t slot = 0; slot < geometry_.slots; ++slot)
        chosen[slot] = slot % 2 == 0 && !private_.covers(slot);
    return written_back_.create(written_back_file, buffers_, geometry_.buffer_stride, chosen, why);
}

// True with the right to settle it: a transfer whose io_submit() has returned, so that its pages
// are pinned, and were dirty then.  The caller holds the slot.
bool Race::take_read_under_write_back(std::uint32_t index) {
    Slot& slot = shared_.slots[index];
    const std::uint64_t word = slot.word.load(std::memory_order_seq_cst);
    return state_of(word) == SlotState::flying && slot.is_read && !slot.bad &&
           slot.op.load(std::memory_order_relaxed) == Op::transfer &&
           take_settling(slot, generation_of(word));
}

bool Race::write_back_some(Random& random) {
    // Now and then the pages of all reads, whoever settles them: then many requests in a row end
    // with pages that the driver has to dirty.
    if (random.below(4) == 0) {
        clean_taken({}, random);
        return false;
    }
    std::deque<Holding> held;
    std::vector<std::uint32_t> taken;
    const std::uint32_t wanted = random.logarithmic(1, most_taken);
    const std::uint32_t first = random.below(geometry_.submitters);
    for (std::uint32_t i = 0; i < geometry_.submitters; ++i) {
        const SubmitterState& submitter = *submitters_[(first + i) % geometry_.submitters];
        const std::uint32_t head = submitter.head.load(std::memory_order_acquire);
        const std::uint32_t span = std::min({head, geometry_.depth, recent_kept, looked_back});
        for (std::uint32_t age = 0; age < span && taken.size() < wanted; ++age) {
            const std::uint32_t index =
                submitter.recent[(head - 1 - age) % recent_kept].load(std::memory_order_relaxed);
            if (!written_back_.covers(index))
                continue;
            held.emplace_back(shared_.slots[index]);
            if (take_read_under_write_back(index))
                taken.push_back(index);
            else
                held.pop_back();
        }
    }
    if (taken.empty())
        return false;
    clean_taken(taken, random);
    if (!until_answered(taken))
        return false;
    drop_taken(taken);
    for (const std::uint32_t index : taken)
        settle(index, buffer(index));
    return true;
}

void Race::clean_taken(const std::vector<std::uint32_t>& taken, Random& random) {
    const Calling calling(Call::write_back);
    bool done = true;
    if (taken.empty() || random.below(8) == 0) {
        for (std::uint32_t index = 0; index < geometry_.slots; ++index)
            if (written_back_.covers(index))
                out_of_page_tables(buffer(index), geometry_.buffer_stride);
        done = written_back_.clean_all(random.below(8) == 0);
    } else {
        const bool awaited = random.below(4) == 0;
        for (const std::uint32_t index : taken) {
            const Slot& slot = shared_.slots[index];
            const std::uint32_t from = first_byte(slot) / page_bytes * page_bytes;
            out_of_page_tables(buffer(index) + from, pages_spanned(slot) * page_bytes);
            done &= written_back_.clean(index, first_byte(slot), spanned(slot), awaited);
        }
    }
    if (!done)
        harness_error(std::string("write-back: ") + std::strerror(errno));
    for (const std::uint32_t index : taken)
        if (in_flight(state_of(shared_.slots[index].word.load(std::memory_order_acquire))))
            disturbed(Counter::cleaned_inflight);
}

// Bounded by the supervisor, which abandons the run when an event is overdue: false.
bool Race::until_answered(const std::vector<std::uint32_t>& taken) {
    for (const std::uint32_t index : taken)
        while (in_flight(state_of(shared_.slots[index].word.load(std::memory_order_acquire)))) {
            if (shared_.abandon.load(std::memory_order_acquire))
                return false;
            wait_for_change(shared_.abandon, 0, ms / 10);
        }
    return true;
}

// Pages of what read nothing are nobody's to save.
void Race::drop_taken(const std::vector<std::uint32_t>& taken) {
    std::vector<std::uint32_t> left;
    for (const std::uint32_t index : taken)
        if (shared_.slots[index].res > 0)
            left.push_back(index);
    for (std::uint32_t i = 0; i < drop_tries && !left.empty(); ++i) {
        if (i)
            wait_for_change(shared_.abandon, 0, ms / 5);
        std::erase_if(left, [&](std::uint32_t index) {
            const Slot& slot = shared_.slots[index];
            const Calling calling(Call::write_back);
            const std::uint32_t gone =
                written_back_.drop(index, buffer(index), first_byte(slot), spanned(slot));
            const bool all = gone == pages_spanned(slot);
            if (all || i + 1 == drop_tries)
                shared_.count(Counter::pages_dropped, gone);
            return all;
        });
    }
}

} // namespace at
