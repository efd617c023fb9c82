// Processes that are killed inside a call of the device, one after another, each after a seeded
// moment.  A killed waiter of a synchronous transfer cancels it and waits on, fsync(2) is left at
// once, exit_aio() waits for what was submitted; the file, its own, is closed on the way out, and
// waits for the rest.  So nothing of the process is in the driver when it can be waited for.
//
//   keeper   fork ── nap ───────────── SIGKILL ── waitpid ── what is left of it? ── fork …
//   mortal     └ open ── pread ── fsync ── io_su✕
#include "lib/disturb/disturb.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/disturb/children.h"
#include "lib/disturb/own_reads.h"
#include "lib/driver_state.h"
#include "lib/oracles/leak.h"
#include "lib/race.h"
#include "lib/racer.h"

namespace at {

namespace {

constexpr std::uint32_t most_reads = 4;
constexpr std::uint32_t most_pages = 4;
constexpr std::uint32_t page_bytes = 4096;

void read_once(Race& race, int fd, std::vector<std::byte>& memory, Random& random) {
    race.shared().count(Counter::outside);
    const Calling calling(Call::pread);
    if (pread(fd, memory.data(), random.logarithmic(1, race.geometry().max_length), 0) < 0 &&
        errno == ENODEV)
        _exit(0);
}

[[noreturn]] void mortal(Race& race, std::vector<std::byte>& memory, Random& random) {
    const int fd = open(race.device_path().c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) // it may have been removed
        _exit(0);
    OwnReads reads(race, 1, most_reads, most_pages);
    while (!race.stopped()) {
        const std::uint32_t drawn = random.below(8);
        if (drawn == 0) {
            const Calling calling(Call::fsync);
            fsync(fd);
        } else if (drawn < 3) {
            reads.draw(memory.data(), random, fd);
            if (reads.submit())
                reads.await_all();
        } else {
            read_once(race, fd, memory, random);
        }
    }
    _exit(0);
}

void keep_one(Race& race, std::vector<std::byte>& memory, Random& random) {
    const pid_t pid = fork();
    if (pid == 0)
        mortal(race, memory, random);
    if (pid < 0)
        return race.harness_error(std::string("fork: ") + std::strerror(errno));
    race.pause_drawn(random, 100, 8000);
    const RequestsLook look;
    kill(pid, SIGKILL);
    if (const int status = await_child(pid); WIFSIGNALED(status))
        race.disturbed(Counter::killed_inside);
    for (const DriverRequest& request : look.now().value_or(std::vector<DriverRequest>{}))
        if (request.thread == pid)
            race.shared().report(left_by_death(request));
}

void keeper(Race& race, Random& random) {
    if (race.buffers_are_private())
        munmap(race.buffer(0), race.geometry().buffers_bytes());
    std::vector<std::byte> memory(std::max<std::size_t>(
        race.geometry().max_length, std::size_t{most_reads} * most_pages * page_bytes));
    while (!race.stopped()) {
        race.pause_drawn(random, 3000, 40000);
        keep_one(race, memory, random);
    }
}

} // namespace

void start_mortals(Race& race, std::uint32_t keepers) {
    if (!keepers)
        return;
    race.expect_children();
    race.start_disturbers(keepers, [&race](std::uint32_t, Random random) {
        keep_process(race, random, "who keeps mortals",
                     [&race](Random& own) { keeper(race, own); });
    });
}

} // namespace at
