#include <catch2/catch.hpp>

#include <set>
#include <vector>

#include "lib/pattern.h"
#include "lib/random.h"

TEST_CASE("a pattern is one byte string, from any place to any address") {
    const std::uint64_t stamp = at::stamp(at::Stamp::payload, 5, 9);
    std::vector<std::byte> whole(300);
    at::pattern_fill(stamp, 0, whole.data(), whole.size());
    for (std::size_t from = 0; from < 20; ++from)
        for (std::size_t length = 0; length < 40; ++length) {
            std::vector<std::byte> part(length + 1);
            at::pattern_fill(stamp, from, part.data() + 1, length);
            CHECK(
                std::equal(part.begin() + 1, part.end(), whole.begin() + static_cast<long>(from)));
            CHECK(at::pattern_check(stamp, from, part.data() + 1, length) == at::pattern_matches);
        }
}

TEST_CASE("one changed byte is found where it is") {
    const std::uint64_t stamp = at::stamp(at::Stamp::canary, 1, 0);
    std::vector<std::byte> bytes(70);
    for (std::size_t bad = 0; bad < bytes.size(); ++bad) {
        at::pattern_fill(stamp, 3, bytes.data(), bytes.size());
        bytes[bad] ^= std::byte{1};
        CHECK(at::pattern_check(stamp, 3, bytes.data(), bytes.size()) == bad);
    }
}

TEST_CASE("stamps of slots, generations and kinds differ") {
    std::set<std::uint64_t> stamps;
    for (std::uint32_t slot = 0; slot < 64; ++slot)
        for (std::uint64_t generation = 0; generation < 64; ++generation)
            for (auto kind : {at::Stamp::canary, at::Stamp::payload})
                stamps.insert(at::stamp(kind, slot, generation));
    CHECK(stamps.size() == 64 * 64 * 2);
}

TEST_CASE("streams of one seed differ, and repeat") {
    at::Random a(7, 1, 0);
    at::Random again(7, 1, 0);
    at::Random other_index(7, 1, 1);
    at::Random other_role(7, 2, 0);
    std::set<std::uint64_t> seen;
    for (int i = 0; i < 100; ++i) {
        const std::uint64_t value = a.next();
        CHECK(again.next() == value);
        seen.insert({value, other_index.next(), other_role.next()});
    }
    CHECK(seen.size() == 300);
}

TEST_CASE("logarithmic draws stay in range and reach both ends") {
    at::Random random(1, 0, 0);
    bool low = false;
    bool high = false;
    for (int i = 0; i < 100000; ++i) {
        const std::uint32_t value = random.logarithmic(1, 16);
        REQUIRE((value >= 1 && value <= 16));
        low |= value == 1;
        high |= value == 16;
    }
    CHECK((low && high));
    CHECK(random.logarithmic(5, 5) == 5);
    CHECK(random.logarithmic(0, 0) == 0);
}

TEST_CASE("where bytes stand in a pattern is found from any of them") {
    const std::uint64_t stamp = at::stamp(at::Stamp::payload, 5, 9);
    std::vector<std::byte> bytes(64);
    for (const std::size_t at : {0, 1, 7, 8, 4096, 40001}) {
        at::pattern_fill(stamp, at, bytes.data(), bytes.size());
        CHECK(at::pattern_place(stamp, bytes.data(), bytes.size()) == at);
        CHECK(at::pattern_place(at::stamp(at::Stamp::payload, 5, 8), bytes.data(), bytes.size()) ==
              at::pattern_matches);
    }
    CHECK(at::pattern_place(stamp, bytes.data(), 7) == at::pattern_matches);
}
