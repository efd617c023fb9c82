// Which window comes next: of all that this racer can enter, those that were hit least.
//
// Each racer thread goes through all (stretch, bin) of its racer in a seeded order, a new one each
// round.  What is covered, or was tried often and never hit, is passed over in some rounds, by
// seeded draws too: which tries are made depends on the seed and on what was reached, and never on
// the clock.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "lib/random.h"
#include "lib/window_book.h"

namespace at {

struct Placement {
    std::uint32_t stretch = 0; // index into WindowBook::stretch
    Bin bin = Bin::inside;
    std::uint32_t part = 0; // of 65536: where in its bin the delay lies
};

// The delay that a placement asks for, in ns; `mean_ns` is the length that the bin scales with.
std::uint64_t delay_of(const Placement& placement, std::uint64_t mean_ns);

// Without a hold: the delay after what is seen last before A, so that the call, as long as calls
// are, overlaps the stretch. All in ns; `part` as above.
struct FreeAim {
    std::int64_t lead;     // from what is seen to A
    std::int64_t stretch;  // from A to B
    std::int64_t call;     // from entry to return
    std::int64_t reaction; // from the decision to the entry
    std::int64_t shift;    // what the tries before ask for
};
std::uint64_t free_delay_of(std::uint32_t part, const FreeAim& aim);

constexpr bool is_held(Bin bin) {
    return bin != Bin::free;
}
constexpr bool is_after(Bin bin) {
    return bin == Bin::after_short || bin == Bin::after_middle || bin == Bin::after_long;
}

class WindowDirector {
public:
    WindowDirector(const WindowBook& book, Racer racer);
    // False when this racer has no window in this run.
    bool next(Random& random, Placement& placement);

private:
    bool pass_over(const std::pair<std::uint32_t, Bin>& choice, Random& random) const;
    const WindowBook& book_;
    Racer racer_;
    std::vector<std::pair<std::uint32_t, Bin>> order_;
    std::size_t at_ = 0;
};

// A running median, in steps of an eighth, that the first value begins.  A mean would follow the
// few values that are a thousand times the others: a guest's CPU that was not scheduled.
void take_median(std::atomic<std::uint32_t>& median, std::uint64_t value_ns);
// The same for the length that nine of ten values exceed.
void take_short(std::atomic<std::uint32_t>& tenth, std::uint64_t value_ns);

} // namespace at
