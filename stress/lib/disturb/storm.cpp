// Many calls of io_cancel() on one request at once.
#include "lib/disturb/disturb.h"

#include "lib/race.h"

namespace at {

void start_storm(Race& race, std::uint32_t threads) {
    race.start_disturbers(threads, [&race, threads](std::uint32_t index, Random random) {
        race.storm_loop(index, threads, random);
    });
}

} // namespace at
