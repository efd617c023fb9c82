// xoshiro256** (Blackman, Vigna), seeded by splitmix64: the same numbers on every machine.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace at::model {

class Random {
public:
    explicit Random(std::uint64_t seed) {
        for (auto& word : state_) {
            seed += 0x9e3779b97f4a7c15ull;
            std::uint64_t z = seed;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
            z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
            word = z ^ (z >> 31);
        }
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
    // 0..n-1; the bias is below n/2^32.
    unsigned below(unsigned n) { return static_cast<unsigned>(((next() >> 32) * n) >> 32); }

private:
    std::array<std::uint64_t, 4> state_;
};

} // namespace at::model
