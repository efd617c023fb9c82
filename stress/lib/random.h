// Seeded random numbers: one stream for each role, all drawn from the plan's seed.
#pragma once

#include <bit>
#include <cstdint>

namespace at {

// Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (2014).
constexpr std::uint64_t splitmix64(std::uint64_t& state) {
    std::uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

// xoshiro256** of Blackman and Vigna.
class Random {
public:
    // Streams of one seed differ in `role` and `index`.
    Random(std::uint64_t seed, std::uint64_t role, std::uint64_t index) {
        std::uint64_t state = seed ^ role * 0xd6e8feb86659fd93ULL;
        splitmix64(state);
        state ^= index * 0xa0761d6478bd642fULL;
        for (std::uint64_t& word : state_)
            word = splitmix64(state);
    }

    std::uint64_t next() {
        const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
        const std::uint64_t shifted = state_[1] << 17;
        state_[2] ^= state_[0];
        state_[3] ^= state_[1];
        state_[1] ^= state_[2];
        state_[0] ^= state_[3];
        state_[2] ^= shifted;
        state_[3] = std::rotl(state_[3], 45);
        return result;
    }

    // 0..bound-1; the bias of the multiplication is below 2^-32 for the bounds used here.
    std::uint32_t below(std::uint32_t bound) {
        return static_cast<std::uint32_t>((next() >> 32) * bound >> 32);
    }

    bool chance(double probability) {
        return static_cast<double>(next() >> 11) * 0x1.0p-53 < probability;
    }

    // lowest..highest, every power of two as likely as the next: short and long come alike.
    std::uint32_t logarithmic(std::uint32_t lowest, std::uint32_t highest) {
        if (lowest >= highest)
            return lowest;
        const int low_bits = std::bit_width(lowest);
        const int bits = low_bits + static_cast<int>(below(static_cast<std::uint32_t>(
                                        std::bit_width(highest) - low_bits + 1)));
        const std::uint32_t from = bits == 0 ? 0 : 1U << (bits - 1);
        const std::uint32_t value = from + below(from ? from : 1);
        return value < lowest ? lowest : value > highest ? highest : value;
    }

private:
    std::uint64_t state_[4];
};

} // namespace at
