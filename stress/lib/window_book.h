// What became of the tries to place racers: the heat map, in shared memory, so that it outlives a
// stressor that is killed.
//
// A pair is (racer, stretch).  In each pair the racer is placed in eight ways, its delay bins:
//
//   inside        held at A  [===call===]  release          the whole call before A's work
//   entry short   held at A  [=|==call===]                  released at entry + d,
//   entry middle  held at A  [===|call===]                  d drawn up to 1/8, 1/2 and 2 times
//   entry long    held at A  [===call===]···|               the call's own length
//   after short   held at A  |·[===call===]                 released d before the call enters,
//   after middle  held at A  |····[===call===]              d drawn up to 1/16, 1/4 and 3/4 of
//   after long    held at A  |·········[===call===]         the length of the stretch itself
//   free          not held: called when A is expected, by what was seen so far
//
// Both lengths are measured as tries go on (as in LTP's tst_fuzzy_sync.h, with as many racers as
// there are), so that the offsets between the instructions of the call and of the stretch are met
// in both orders and at all scales, whatever the machine's speed.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace at {

enum class Racer : std::uint8_t { submitter, canceller, destroyer, reaper, count };
constexpr auto racers_count = static_cast<std::size_t>(Racer::count);
const char* racer_name(Racer racer);

constexpr std::uint32_t max_stretches = 16;
constexpr std::size_t phases_count = 11;

// Two phases of a request (enum at_phase); what one racer enters is what lies between.
struct Stretch {
    std::uint8_t from;
    std::uint8_t to;
    bool operator==(const Stretch&) const = default;
};

enum class Bin : std::uint8_t {
    inside,
    entry_short,
    entry_middle,
    entry_long,
    after_short,
    after_middle,
    after_long,
    free,
    count
};
constexpr auto bins_count = static_cast<std::size_t>(Bin::count);
const char* bin_name(Bin bin);

// Five: a bug that shows in half of a bin's placements stays unseen by five hits in 3 % of runs.
constexpr std::uint32_t covering_hits = 5;

// Why a try did not meet.
enum class Miss : std::uint8_t {
    early,     // the call had returned when the request came to A
    expired,   // the hold's bound was over before the racer came
    cancelled, // somebody else's cancellation had ended the stretch
    outrun,    // the request was past B when the racer entered
    count
};
constexpr auto misses_count = static_cast<std::size_t>(Miss::count);
const char* miss_name(Miss miss);

struct HeatBin {
    std::atomic<std::uint32_t> tries; // the request reached A and the racer called
    std::atomic<std::uint32_t> hits;  // the call overlapped the stretch
};

struct HeatPair {
    std::atomic<std::uint32_t> wanted; // 1: placed in this run
    std::atomic<std::uint32_t> held;   // tries in which a hold took place
    std::atomic<std::uint32_t> hits_held;
    std::atomic<std::uint32_t> expired;  // holds whose bound was over before the release
    std::atomic<std::uint32_t> voids;    // the request never reached A, or the racer could not call
    std::atomic<std::uint32_t> uncalled; // of the voids: the racer found nothing to call for
    std::atomic<std::uint32_t> missed_held[misses_count];
    std::atomic<std::uint32_t> missed_free[misses_count];
    std::atomic<std::uint32_t> call_ns;    // running median, 0: not yet known
    std::atomic<std::uint32_t> stretch_ns; // what nine of ten are longer than
    std::atomic<std::int32_t> shift_ns;    // of free calls, by what became of those before
    HeatBin bin[bins_count];

    std::uint32_t tries() const;
    std::uint32_t hits() const;
};

// What is measured of all tries, whoever's they are; running medians, 0: not yet known.
struct Lengths {
    std::atomic<std::uint32_t> lead_ns[phases_count];     // from what is seen before it to a phase
    std::atomic<std::uint32_t> stretch_ns[max_stretches]; // not held
    std::atomic<std::uint32_t> call_ns[racers_count];
    std::atomic<std::uint32_t> reaction_ns; // from a racer's decision to its call's entry
    std::atomic<std::uint32_t> in_ring_ns;  // from naming a flying request to its start
    std::atomic<std::uint32_t> device_cpu;  // that took the last start, + 1
};

struct WindowBook {
    std::uint32_t stretches;
    Stretch stretch[max_stretches];
    bool planned;          // windows of the plan; else of the search
    std::uint64_t hold_ns; // bound of each hold; 0: none is held
    HeatPair pair[racers_count][max_stretches];
    Lengths lengths;
    std::atomic<std::uint64_t> held_ns;  // the device's events were deferred, in sum
    std::atomic<std::uint64_t> slept_ns; // submitters and work items were held, in sum
    std::atomic<std::uint32_t>
        untimed; // calls that the kernel did not time: bracketed by user space
    std::atomic<std::uint32_t> together; // tries with more than one racer
};

// A racer's call and the request's phases, by the kernel's clock; 0: not passed.
struct Meeting {
    std::uint64_t phase_ns[phases_count];
    std::uint64_t enter_ns;
    std::uint64_t exit_ns;
};
enum class Met { never_there, no, yes };
Met judge_meeting(const Meeting& meeting, Stretch stretch);
// Of one that did not meet.
Miss why_missed(const Meeting& meeting, Stretch stretch, bool expired);

// "canceller in irq..complete"
std::string window_name(Racer racer, Stretch stretch);

} // namespace at
