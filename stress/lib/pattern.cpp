#include "lib/pattern.h"

#include <algorithm>
#include <cstring>

#include "lib/random.h"

namespace at {

namespace {

constexpr std::uint64_t step = 0x9e3779b97f4a7c15ULL; // odd: 2^64 words before one comes again

constexpr std::uint64_t word(std::uint64_t stamp, std::size_t index) {
    return stamp + index * step;
}

} // namespace

std::uint64_t stamp(Stamp kind, std::uint32_t slot, std::uint64_t generation) {
    std::uint64_t state =
        static_cast<std::uint64_t>(kind) << 60 ^ std::uint64_t{slot} << 44 ^ generation;
    return splitmix64(state);
}

std::byte pattern_byte(std::uint64_t stamp, std::size_t at) {
    return static_cast<std::byte>(word(stamp, at / 8) >> (8 * (at % 8)));
}

void pattern_fill(std::uint64_t stamp, std::size_t from, std::byte* to, std::size_t length) {
    const std::size_t head = std::min(length, (8 - from % 8) % 8);
    for (std::size_t i = 0; i < head; ++i)
        to[i] = pattern_byte(stamp, from + i);
    std::uint64_t value = word(stamp, (from + head) / 8);
    std::size_t i = head;
    for (; i + 8 <= length; i += 8, value += step)
        std::memcpy(to + i, &value, 8);
    for (; i < length; ++i)
        to[i] = pattern_byte(stamp, from + i);
}

std::size_t pattern_check(std::uint64_t stamp, std::size_t from, const std::byte* bytes,
                          std::size_t length) {
    const std::size_t head = std::min(length, (8 - from % 8) % 8);
    std::size_t i = 0;
    for (; i < head; ++i)
        if (bytes[i] != pattern_byte(stamp, from + i))
            return i;
    std::uint64_t value = word(stamp, (from + head) / 8);
    for (; i + 8 <= length; i += 8, value += step)
        if (std::memcmp(bytes + i, &value, 8))
            break;
    for (; i < length; ++i)
        if (bytes[i] != pattern_byte(stamp, from + i))
            return i;
    return pattern_matches;
}

std::size_t pattern_place(std::uint64_t stamp, const std::byte* bytes, std::size_t length) {
    // The inverse of `step`, by Newton's iteration: each turn doubles the bits that are right.
    std::uint64_t inverse = step;
    for (int turn = 0; turn < 5; ++turn)
        inverse *= 2 - step * inverse;
    constexpr std::size_t words = 1 << 20;
    for (std::size_t shift = 0; shift < 8 && shift + 8 <= length; ++shift) {
        std::uint64_t value = 0;
        std::memcpy(&value, bytes + shift, 8);
        const std::uint64_t index = (value - stamp) * inverse;
        if (index < words && index * 8 >= shift &&
            pattern_check(stamp, index * 8 - shift, bytes, shift + 8) == pattern_matches)
            return index * 8 - shift;
    }
    return pattern_matches;
}

std::uint64_t checksum(const std::byte* bytes, std::size_t length) {
    std::uint64_t sum = 0xcbf29ce484222325;
    for (std::size_t i = 0; i + 8 <= length; i += 8) {
        std::uint64_t word;
        std::memcpy(&word, bytes + i, 8);
        sum = (sum ^ word) * 0x100000001b3;
    }
    return sum;
}

} // namespace at
