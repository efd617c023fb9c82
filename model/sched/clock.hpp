// Vector clocks over the fibers of one schedule.
//
// A component counts epochs of one fiber: an epoch begins with each step and after each release.
// Sixteen bits bound a schedule at 32 767 epochs; Exec refuses larger step bounds.
#pragma once

#include <cstdint>

namespace at::model {

using FiberId = std::uint8_t;
using Mask = std::uint32_t;
using Epoch = std::int16_t;

inline constexpr unsigned max_fibers = 31; // fibers 0..30
inline constexpr FiberId root_fiber = 31;  // set-up and end checks, outside every race
inline constexpr FiberId no_fiber = 0xff;

constexpr Mask bit(FiberId fiber) {
    return Mask{1} << fiber;
}

// The vector part covers eight fibers; most schedules have no more, so joins stop at `lanes`.
class Clock {
    using Lane = Epoch __attribute__((vector_size(16)));

public:
    static constexpr unsigned lanes_max = 4;

    Epoch operator[](FiberId fiber) const { return lane_[fiber >> 3][fiber & 7]; }
    void set(FiberId fiber, Epoch epoch) { lane_[fiber >> 3][fiber & 7] = epoch; }
    void clear() {
        for (auto& lane : lane_)
            lane = Lane{};
    }
    void join(const Clock& other, unsigned lanes) {
        for (unsigned i = 0; i < lanes; ++i)
            lane_[i] = lane_[i] > other.lane_[i] ? lane_[i] : other.lane_[i];
    }
    // The lowest fiber whose component here is later than in `seen`, or no_fiber.
    FiberId first_beyond(const Clock& seen) const {
        for (FiberId fiber = 0; fiber < max_fibers; ++fiber)
            if ((*this)[fiber] > seen[fiber])
                return fiber;
        return no_fiber;
    }
    bool beyond(const Clock& seen, unsigned lanes) const {
        for (unsigned i = 0; i < lanes; ++i) {
            const Lane later = lane_[i] > seen.lane_[i];
            using Pair = std::int64_t __attribute__((vector_size(16)));
            const Pair pair = reinterpret_cast<Pair>(later);
            if (pair[0] | pair[1])
                return true;
        }
        return false;
    }

private:
    Lane lane_[lanes_max]{};
};

// hb: happens-before by synchronisation, for data races. dep: order of all dependent steps, for
// partial-order reduction; only kept up to date when a strategy asks for it.
struct Clocks {
    Clock hb;
    Clock dep;
    std::int64_t time = 0; // nanoseconds; of what happened before
};

} // namespace at::model
