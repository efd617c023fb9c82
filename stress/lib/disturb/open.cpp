// Files of the device beside the submitters': each carries some synchronous requests, and is closed
// the moment that they are answered, while the driver still holds what it must not (the release
// waits for the file's last request, and the ledger of the race knows none of them).
#include "lib/disturb/disturb.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "lib/oracles/calls.h"
#include "lib/race.h"
#include "lib/racer.h"

namespace at {

namespace {

constexpr std::uint32_t most_requests = 4;

void open_loop(Race& race, Random random) {
    std::vector<std::byte> memory(race.geometry().max_length);
    bool absent = false;
    while (!race.stopped()) {
        // Whoever waits for a device opens it the moment that its node is there.
        race.pause_drawn(random, 10, absent ? 100 : 4000);
        const bool loaded = race.requests_in_flight();
        Fd fd;
        {
            const Calling calling(Call::open);
            fd = Fd(open(race.device_path().c_str(), O_RDWR | O_CLOEXEC));
        }
        absent = !fd;
        if (!fd) {
            const int error = errno;
            if (race.permitted().removal)
                continue; // it may come back
            if (const auto finding = judge_file_call("open", error))
                race.shared().report(*finding);
            continue;
        }
        for (std::uint32_t i = random.below(most_requests); i > 0 && !race.stopped(); --i) {
            race.shared().count(Counter::outside);
            const Calling calling(Call::pread);
            const ssize_t got = pread(fd.get(), memory.data(),
                                      random.logarithmic(1, race.geometry().max_length), 0);
            if (got < 0 && errno == ENODEV)
                break;
        }
        {
            const Calling calling(Call::close);
            fd.reset();
        }
        if (loaded)
            race.disturbed(Counter::opened_inflight);
    }
}

} // namespace

void start_openers(Race& race, std::uint32_t threads) {
    race.start_disturbers(threads,
                          [&race](std::uint32_t, Random random) { open_loop(race, random); });
}

} // namespace at
