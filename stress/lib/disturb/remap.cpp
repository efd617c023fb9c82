// Memory: the mapping that a request's pages were pinned through changes under it, and the ring
// that its event will come to moves.
#include "lib/disturb/disturb.h"

#include "lib/race.h"

namespace at {

namespace {

constexpr std::uint32_t rest_below_us = 150;

} // namespace

void start_remappers(Race& race, std::uint32_t threads) {
    race.start_disturbers(threads, [&race](std::uint32_t, Random random) {
        while (!race.stopped())
            if (!race.remap_one(random))
                race.pause(random.below(rest_below_us) * 1000);
    });
}

void start_ring_movers(Race& race, std::uint32_t threads) {
    race.start_disturbers(threads, [&race](std::uint32_t, Random random) {
        while (!race.stopped())
            if (!race.move_ring(random) || random.below(8))
                race.pause(random.below(rest_below_us) * 1000);
    });
}

} // namespace at
