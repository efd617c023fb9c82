// Files: the submitters' one is replaced (dup3(2) closes the old one in the same step, so that no
// submitter ever meets EBADF), numbers of it are copied and closed, others are opened beside it.
#include "lib/disturb/disturb.h"

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include "lib/oracles/calls.h"
#include "lib/race.h"
#include "lib/racer.h"

namespace at {

namespace {

// False: the plan's faults have removed the device, and there is no more to open.
bool refused(Race& race, const char* what) {
    const int error = errno;
    if (race.permitted().removal && (error == ENODEV || error == ENOENT || error == ENXIO))
        return false;
    if (const auto finding = judge_file_call(what, error))
        race.shared().report(*finding);
    return true;
}

// The last descriptor of the old file goes, its requests stay.
bool replace_file(Race& race, int fd) {
    Fd fresh;
    {
        const Calling calling(Call::open);
        fresh = Fd(open(race.device_path().c_str(), O_RDWR | O_CLOEXEC));
    }
    if (!fresh)
        return refused(race, "open");
    const Calling calling(Call::close);
    return dup3(fresh.get(), fd, O_CLOEXEC) >= 0 || refused(race, "dup3");
}

// One descriptor of several goes: ->flush() runs, ->release() must not.
bool close_a_copy(Race& race, int fd, Random& random) {
    const int copy = dup(fd);
    if (copy < 0)
        return refused(race, "dup");
    race.pause(random.below(200) * 1000);
    const Calling calling(Call::close);
    return close(copy) == 0 || refused(race, "close");
}

void close_loop(Race& race, Random random) {
    while (!race.stopped()) {
        race.pause_drawn(random, 1, 2000);
        const bool loaded = race.requests_in_flight();
        const bool done = random.below(3) ? replace_file(race, race.device_fd(0))
                                          : close_a_copy(race, race.device_fd(0), random);
        if (!done)
            return;
        if (loaded)
            race.disturbed(Counter::closed_inflight);
    }
}

} // namespace

void start_closers(Race& race, std::uint32_t threads) {
    race.start_disturbers(threads,
                          [&race](std::uint32_t, Random random) { close_loop(race, random); });
}

} // namespace at
