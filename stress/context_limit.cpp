// Invariant: contexts are counted exactly.  At the limit io_setup() says EAGAIN, leaves nothing
// behind and hurts nobody who has a context; what is destroyed can be had again.
//
// Racers: submitters, cancellers and reapers on the common contexts, and two tenants that take
// contexts of their own until /proc/sys/fs/aio-max-nr is reached, which the scenario lowers for its
// time, put a request into some of them, and destroy them all with the requests in flight.
//
// Legal outcomes:
//   io_setup                   0, or -EAGAIN when aio-nr + nr_events exceeds aio-max-nr
//                              (fs/aio.c, ioctx_alloc()); the id stays 0 then
//   aio-nr                     never above aio-max-nr, and what it was before when all are
//   destroyed a tenant's request         ended by io_destroy(), as in destroy_under_load

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <libaio.h>
#include <sys/mman.h>

#include "lib/oracles/calls.h"
#include "lib/race.h"
#include "lib/racer.h"

namespace {

constexpr char limit_file[] = "/proc/sys/fs/aio-max-nr";
constexpr char count_file[] = "/proc/sys/fs/aio-nr";
constexpr long room = 1500; // events beyond those of the common contexts
constexpr std::uint32_t most_contexts = 400;
constexpr std::size_t read_bytes = 4096;

long number_in(const char* path) {
    return std::strtol(at::read_file(path).value_or("0").c_str(), nullptr, 10);
}

void report(at::Race& race, const std::optional<at::Finding>& finding) {
    if (finding)
        race.shared().report(*finding);
}

// True when the limit was met.
bool fill_up(at::Race& race, at::Random& random, std::byte* buffer,
             std::vector<io_context_t>& contexts) {
    while (contexts.size() < most_contexts && !race.stopped()) {
        io_context_t id = nullptr;
        int answer = 0;
        {
            const at::Calling calling(at::Call::io_setup);
            answer = io_setup(1 + static_cast<int>(random.below(16)), &id);
        }
        if (answer) {
            for (const at::Finding& finding : at::judge_setup_refused(answer, id != nullptr))
                race.shared().report(finding);
            return answer == -EAGAIN;
        }
        contexts.push_back(id);
        if (random.below(4))
            continue;
        iocb cb;
        iocb* pointer = &cb;
        io_prep_pread(&cb, race.device_fd(0), buffer, read_bytes, 0);
        race.shared().count(at::Counter::outside);
        const at::Calling calling(at::Call::io_submit);
        report(race, at::judge_submit_at_limit(io_submit(id, 1, &pointer)));
    }
    return false;
}

void rent(at::Race& race, at::Random random) {
    void* buffer =
        mmap(nullptr, read_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer == MAP_FAILED) {
        race.harness_error(std::string("mmap: ") + std::strerror(errno));
        return;
    }
    while (!race.stopped()) {
        std::vector<io_context_t> contexts;
        if (fill_up(race, random, static_cast<std::byte*>(buffer), contexts))
            race.shared().count(at::Counter::limit_reached);
        const long count = number_in(count_file);
        report(race, at::judge_aio_nr(count, number_in(limit_file)));
        for (io_context_t id : contexts) {
            const at::Calling calling(at::Call::io_destroy);
            report(race, at::judge_destroy_at_limit(io_destroy(id)));
        }
    }
}

const at::Scenario scenario{
    "context_limit",
    "at aio-max-nr io_setup says EAGAIN and leaves nothing behind; what is destroyed comes back",
    at::common_knobs({{"requests", "3000"}}),
    {{"submitted", 1500}, {"limit_reached", 3}},
    [](at::Race& race) {
        const long limit = number_in(limit_file);
        if (!at::write_file(limit_file, std::to_string(number_in(count_file) + room) + "\n")) {
            race.harness_error(std::string(limit_file) + ": " + std::strerror(errno));
            return;
        }
        race.start_submitters();
        race.start_cancellers();
        race.start_reapers();
        race.start_disturbers(2, [&race](std::uint32_t, at::Random random) { rent(race, random); });
        race.until_contended();
        at::write_file(limit_file, std::to_string(limit) + "\n");
    },
};

const at::Registration registered(scenario);

} // namespace
