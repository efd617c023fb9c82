#include "lib/window_book.h"

#include <algorithm>
#include <array>

#include "fail_injector.h"

#include "lib/plan.h"

namespace at {

static_assert(phases_count == AT_NR_PHASES);

namespace {

// A request's way; a cancel may come anywhere on it.
constexpr std::array<std::uint8_t, 10> path = {AT_SUBMIT, AT_PIN,      AT_MAP,   AT_QUEUE, AT_START,
                                               AT_IRQ,    AT_COMPLETE, AT_UNMAP, AT_UNPIN, AT_FREE};

// When the stretch ended: at B, or at what came after it if B was left out; 0: not yet.
std::uint64_t end_of(const Meeting& meeting, std::uint8_t to) {
    if (meeting.phase_ns[to])
        return meeting.phase_ns[to];
    const auto* at = std::find(path.begin(), path.end(), to);
    std::uint64_t end = 0;
    for (; at != path.end(); ++at)
        if (meeting.phase_ns[*at] && (!end || meeting.phase_ns[*at] < end))
            end = meeting.phase_ns[*at];
    return end;
}

} // namespace

const char* racer_name(Racer racer) {
    static const char* const names[] = {"submitter", "canceller", "destroyer", "reaper"};
    return names[static_cast<std::size_t>(racer)];
}

const char* bin_name(Bin bin) {
    static const char* const names[] = {"inside",      "entry short",  "entry middle", "entry long",
                                        "after short", "after middle", "after long",   "free"};
    return names[static_cast<std::size_t>(bin)];
}

const char* miss_name(Miss miss) {
    static const char* const names[] = {"early", "expired", "cancelled", "outrun"};
    return names[static_cast<std::size_t>(miss)];
}

std::uint32_t HeatPair::tries() const {
    std::uint32_t sum = 0;
    for (const HeatBin& each : bin)
        sum += each.tries.load(std::memory_order_relaxed);
    return sum;
}

std::uint32_t HeatPair::hits() const {
    std::uint32_t sum = 0;
    for (const HeatBin& each : bin)
        sum += each.hits.load(std::memory_order_relaxed);
    return sum;
}

Met judge_meeting(const Meeting& meeting, Stretch stretch) {
    const std::uint64_t begin = meeting.phase_ns[stretch.from];
    if (!begin || !meeting.enter_ns)
        return Met::never_there;
    const std::uint64_t end = end_of(meeting, stretch.to);
    // A stretch that has no end yet, seen after the call's return, was open during all of it.
    const bool before_end = !end || meeting.enter_ns <= end;
    return before_end && meeting.exit_ns >= begin ? Met::yes : Met::no;
}

Miss why_missed(const Meeting& meeting, Stretch stretch, bool expired) {
    if (meeting.exit_ns < meeting.phase_ns[stretch.from])
        return Miss::early;
    if (expired)
        return Miss::expired;
    const std::uint64_t cancelled_ns = meeting.phase_ns[AT_CANCEL];
    if (stretch.from != AT_CANCEL && cancelled_ns && cancelled_ns <= end_of(meeting, stretch.to))
        return Miss::cancelled;
    return Miss::outrun;
}

std::string window_name(Racer racer, Stretch stretch) {
    return std::string(racer_name(racer)) + " in " + phase_names()[stretch.from] + ".." +
           phase_names()[stretch.to];
}

} // namespace at
