#include <catch2/catch.hpp>

#include "lib/random.h"
#include "lib/request_shapes.h"

TEST_CASE("segments keep to cache lines of their own only when they are asked to") {
    at::Random random(7, 0, 0);
    bool shared = false;
    for (std::uint32_t end = 1; end < 4096; ++end) {
        const std::uint32_t last_line = (end - 1) / 64;
        CHECK((end + at::segment_gap(random, true)) / 64 > last_line);
        const std::uint32_t gap = at::segment_gap(random, false);
        CHECK(gap < 64);
        shared = shared || (end + gap) / 64 == last_line;
    }
    CHECK(shared);
}

TEST_CASE("own lines take nothing from what is drawn afterwards") {
    at::Random one(7, 0, 0);
    at::Random other(7, 0, 0);
    at::segment_gap(one, true);
    at::segment_gap(other, false);
    CHECK(one.below(1U << 30) == other.below(1U << 30));
}
