#include "lib/window_director.h"

#include <algorithm>
#include <array>

namespace at {

namespace {

constexpr std::uint32_t hopeless_tries = 16;
constexpr std::uint64_t unknown_ns = 20000; // a system call of a guest under emulation
constexpr std::uint32_t longest_ns = 20000000;
constexpr std::int64_t longest_call_ns = 50000; // of use for aiming: more is slack enough

// Bounds of the bins, in 1/16 of the length they scale with.
struct Share {
    std::uint32_t low;
    std::uint32_t high;
};
constexpr std::array<Share, bins_count> shares = {Share{0, 0}, {0, 2}, {2, 8},  {8, 32},
                                                  {0, 1},      {1, 4}, {4, 12}, {0, 24}};

} // namespace

std::uint64_t delay_of(const Placement& placement, std::uint64_t mean_ns) {
    const Share share = shares[static_cast<std::size_t>(placement.bin)];
    const std::uint64_t unit = (mean_ns ? mean_ns : unknown_ns) / 16;
    return unit * share.low + (unit * (share.high - share.low) * placement.part >> 16);
}

std::uint64_t free_delay_of(std::uint32_t part, const FreeAim& aim) {
    const std::int64_t call = std::min(aim.call, longest_call_ns);
    const std::int64_t span = call + aim.stretch;
    const std::int64_t first = aim.lead - aim.reaction - call + aim.shift;
    // The outer eighths would be lost to the least delay.
    const std::int64_t delay = first + span / 8 + (span * 3 / 4 * part >> 16);
    return static_cast<std::uint64_t>(std::max<std::int64_t>(delay, 0));
}

WindowDirector::WindowDirector(const WindowBook& book, Racer racer) : book_(book), racer_(racer) {
    for (std::uint32_t stretch = 0; stretch < book.stretches; ++stretch) {
        if (!book.pair[static_cast<std::size_t>(racer)][stretch].wanted)
            continue;
        for (std::size_t bin = 0; bin < bins_count; ++bin)
            if (book.hold_ns || !is_held(static_cast<Bin>(bin)))
                order_.emplace_back(stretch, static_cast<Bin>(bin));
    }
    at_ = order_.size();
}

bool WindowDirector::pass_over(const std::pair<std::uint32_t, Bin>& choice, Random& random) const {
    const HeatPair& pair = book_.pair[static_cast<std::size_t>(racer_)][choice.first];
    const HeatBin& bin = pair.bin[static_cast<std::size_t>(choice.second)];
    const std::uint32_t hits = bin.hits.load(std::memory_order_relaxed);
    const std::uint32_t tries =
        bin.tries.load(std::memory_order_relaxed) + pair.voids.load(std::memory_order_relaxed) / 8;
    const std::uint32_t drawn = random.below(4);
    if (!hits && tries >= hopeless_tries)
        return drawn != 0;
    return hits >= covering_hits && drawn < 2;
}

bool WindowDirector::next(Random& random, Placement& placement) {
    if (order_.empty())
        return false;
    // At most two rounds: what is left when all was passed over is as good as any.
    for (std::size_t looked = 0; looked < 2 * order_.size() + 1; ++looked) {
        if (at_ == order_.size()) {
            for (std::size_t i = order_.size(); i > 1; --i)
                std::swap(order_[i - 1], order_[random.below(static_cast<std::uint32_t>(i))]);
            at_ = 0;
        }
        const auto choice = order_[at_++];
        if (pass_over(choice, random) && looked < 2 * order_.size())
            continue;
        placement = {choice.first, choice.second, random.below(1U << 16)};
        return true;
    }
    return false;
}

namespace {

// Stands still where `up` of the values above it weigh as much as `down` of those below.
void take_quantile(std::atomic<std::uint32_t>& quantile, std::uint64_t value_ns, std::uint32_t up,
                   std::uint32_t down) {
    const auto value = static_cast<std::uint32_t>(std::min<std::uint64_t>(value_ns, longest_ns));
    const std::uint32_t old = quantile.load(std::memory_order_relaxed);
    // Others may take it at the same time; a lost step is no loss.
    quantile.store(!old          ? std::max(value, 1U)
                   : value > old ? old + old / up + 1
                                 : std::max(old - std::min(old, old / down + 1), 1U),
                   std::memory_order_relaxed);
}

} // namespace

void take_median(std::atomic<std::uint32_t>& median, std::uint64_t value_ns) {
    take_quantile(median, value_ns, 8, 8);
}

void take_short(std::atomic<std::uint32_t>& tenth, std::uint64_t value_ns) {
    take_quantile(tenth, value_ns, 36, 4);
}

} // namespace at
