// Write-back: pages of reads in flight are cleaned, so that the driver must dirty them anew, and
// are given away after the answer, before the bytes are judged.
#include "lib/disturb/disturb.h"

#include "lib/race.h"

namespace at {

namespace {

constexpr std::uint32_t rest_most_us = 2000;

} // namespace

void start_write_back(Race& race, std::uint32_t threads) {
    race.start_disturbers(threads, [&race](std::uint32_t, Random random) {
        while (!race.stopped())
            if (!race.write_back_some(random))
                race.pause_drawn(random, 20, rest_most_us);
    });
}

} // namespace at
