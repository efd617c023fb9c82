// Bytes that say whose they are.
//
// A pattern is an endless byte string made from a stamp: word i is stamp + i * step.  Making and
// checking cost an addition for eight bytes.  Stamps come from (kind, slot, generation), so data
// of another request, of another generation, or of no request are told apart.
#pragma once

#include <cstddef>
#include <cstdint>

namespace at {

enum class Stamp : std::uint64_t { canary = 1, payload = 2 };

std::uint64_t stamp(Stamp kind, std::uint32_t slot, std::uint64_t generation);

constexpr std::size_t pattern_matches = ~std::size_t{0};

std::byte pattern_byte(std::uint64_t stamp, std::size_t at);
// Bytes from..from+length of the stamp's pattern, to any address.
void pattern_fill(std::uint64_t stamp, std::size_t from, std::byte* to, std::size_t length);
// Offset of the first byte that differs, or pattern_matches.
std::size_t pattern_check(std::uint64_t stamp, std::size_t from, const std::byte* bytes,
                          std::size_t length);

// Where in the stamp's pattern these bytes stand; pattern_matches: nowhere, or too few to tell (15
// always do).
std::size_t pattern_place(std::uint64_t stamp, const std::byte* bytes, std::size_t length);

// Of whole words: a remainder of up to 7 bytes does not count.
std::uint64_t checksum(const std::byte* bytes, std::size_t length);

} // namespace at
