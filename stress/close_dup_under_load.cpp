// Invariant: closing a file descriptor ends nothing but the descriptor.  A request holds its file;
// the file's release runs when the last request and the last descriptor are gone, and by then no
// request of it is left.
//
// Racers: submitters, cancellers and reapers, and closers that replace the submitters' descriptor
// by one of a newly opened file while requests and synchronous transfers of the old file are in
// flight (dup3(2) closes the old one in the same step, so that no submitter ever meets EBADF), and
// that dup and close numbers of one file.
//
// Legal outcomes:
//   open, dup, close           succeed, and return while requests are in flight
//   a request in flight        its event, as if nothing had been closed
//   the old file               released after its last request; its books are empty

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include "lib/oracles/calls.h"
#include "lib/race.h"
#include "lib/racer.h"

namespace {

void refused(at::Race& race, const char* what) {
    if (const auto finding = at::judge_file_call(what, errno))
        race.shared().report(*finding);
}

// The last descriptor of the old file goes, its requests stay.
void replace_file(at::Race& race, int fd) {
    at::Fd fresh;
    {
        const at::Calling calling(at::Call::open);
        fresh = at::Fd(open(race.device_path().c_str(), O_RDWR | O_CLOEXEC));
    }
    if (!fresh)
        return refused(race, "open");
    const at::Calling calling(at::Call::close);
    if (dup3(fresh.get(), fd, O_CLOEXEC) < 0)
        refused(race, "dup3");
}

// One descriptor of several goes: ->flush() runs, ->release() must not.
void close_a_copy(at::Race& race, int fd, at::Random& random) {
    const int copy = dup(fd);
    if (copy < 0)
        return refused(race, "dup");
    race.pause(random.below(200) * 1000);
    const at::Calling calling(at::Call::close);
    if (close(copy))
        refused(race, "close");
}

void close_loop(at::Race& race, at::Random random) {
    while (!race.stopped()) {
        race.pause_drawn(random, 1, 2000);
        const bool loaded = race.requests_in_flight();
        if (random.below(3))
            replace_file(race, race.device_fd(0));
        else
            close_a_copy(race, race.device_fd(0), random);
        if (loaded)
            race.shared().count(at::Counter::closed_inflight);
    }
}

const at::Scenario scenario{
    "close_dup_under_load",
    "closing a descriptor ends no request; the file is released after its last request",
    at::common_knobs({{"requests", "6000"}, {"sync_ratio", "0.1"}}),
    {{"submitted", 3000}, {"closed_inflight", 300}},
    [](at::Race& race) {
        race.start_submitters();
        race.start_cancellers();
        race.start_reapers();
        race.start_destroyers();
        race.start_disturbers(
            2, [&race](std::uint32_t, at::Random random) { close_loop(race, random); });
        race.until_contended();
    },
};

const at::Registration registered(scenario);

} // namespace
