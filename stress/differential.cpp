// Invariant: a device answers by its own contract, whichever way it is asked.  The same request
// through preadv/pwritev, libaio and io_uring has the same result, the same errno and the same
// bytes.
//
// Racers: none but the device.  Three lanes have a stretch of the device's memory each, beyond what
// the common racers use, which load the ring beside them.  Each round draws one request and sends
// it down all lanes; what they answer and what they moved is compared.
//
// Legal outcomes:
//   result                     the same in all lanes: bytes moved, 0 or ENOSPC at the device's end,
//                              EFAULT for memory that is not there, whole or in its last segment
//   bytes                      the same in all lanes, in the buffer and on the device
//   read(2), write(2)          move the file's position by their result (/proc/PID/fdinfo)
//   a time-out                 the host stood still: the round is not compared
// A kernel without io_uring, or one that forbids it, is told by compared_uring = 0.

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <libaio.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/oracles/calls.h"
#include "lib/pattern.h"
#include "lib/race.h"
#include "lib/racer.h"
#include "lib/uring.h"

namespace {

constexpr std::uint32_t page_bytes = 4096;
constexpr std::uint32_t stretch_bytes = 64 << 10; // of the device, for each lane
constexpr std::uint32_t longest = 16 << 10;
constexpr std::uint32_t arena_bytes = 4 * longest; // a lane's memory; the page behind it is none
constexpr std::uint32_t lanes = 3;
const char* const lane_names[lanes] = {"preadv/pwritev", "libaio", "io_uring"};

// One request, drawn once and sent down every lane.
struct Draw {
    bool is_read;
    unsigned segments;
    std::uint32_t at[at::max_segments]; // in the lane's memory; beyond its end: not there
    std::uint32_t length[at::max_segments];
    bool edge; // across or at the end of the device, at `place` before it
    std::uint32_t place;
};

Draw draw(at::Random& random) {
    Draw request{};
    request.is_read = random.below(2);
    request.edge = random.below(6) == 0;
    request.segments = 1 + random.below(at::max_segments);
    std::uint32_t from = random.below(page_bytes);
    for (unsigned i = 0; i < request.segments; ++i) {
        request.at[i] = from;
        request.length[i] = random.logarithmic(1, longest / request.segments);
        from += request.length[i] + at::segment_gap(random, at::dma_debug_watches());
    }
    const unsigned last = request.segments - 1;
    switch (random.below(8)) {
    case 0: // the last segment reaches memory that is not there
        request.at[last] = arena_bytes - random.below(request.length[last]);
        break;
    case 1: // and none of it is
        request.at[0] = arena_bytes + random.below(8);
        request.segments = 1;
        break;
    default:
        break;
    }
    // Writes stay off the device's last bytes, which the common racers read.
    request.place = request.edge ? (request.is_read ? random.below(longest) : 0)
                                 : random.below(stretch_bytes - longest - page_bytes);
    return request;
}

class Lanes {
public:
    explicit Lanes(at::Race& race) : race_(race) {
        const at::Permitted& may = race.permitted();
        if (may.corrupt || may.removal || may.shorts || may.timeouts || !may.errnos.empty())
            throw at::PlanError("differential: the plan's faults change results");
        const at::Geometry& geometry = race.geometry();
        base_ = geometry.slots * geometry.region_bytes;
        if (base_ + lanes * stretch_bytes + geometry.max_length + page_bytes >
            geometry.device_bytes)
            throw at::PlanError("differential: no memory of the device is left for the lanes");
        for (std::byte*& memory : memory_) {
            void* at = mmap(nullptr, arena_bytes + page_bytes, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (at == MAP_FAILED || mprotect(at, arena_bytes, PROT_READ | PROT_WRITE))
                at::throw_errno("mmap of a lane's memory");
            memory = static_cast<std::byte*>(at);
        }
        if (const int answer = io_setup(4, &context_))
            throw std::runtime_error("io_setup: " + at::errno_name(-answer));
    }
    ~Lanes() { io_destroy(context_); }
    Lanes(const Lanes&) = delete;
    Lanes& operator=(const Lanes&) = delete;

    void round(at::Random& random) {
        if (!level_ && !make_level())
            return;
        const Draw request = draw(random);
        const std::uint64_t seed = random.next();
        long result[lanes];
        bool stalled = false;
        for (std::uint32_t lane = 0; lane < lanes; ++lane) {
            at::pattern_fill(seed, 0, memory_[lane], arena_bytes);
            result[lane] = send(lane, request);
            race_.shared().count(at::Counter::outside);
            stalled |= result[lane] == -ETIMEDOUT;
        }
        if (stalled) {
            level_ = false;
            return;
        }
        for (std::uint32_t lane = 1; lane < lanes; ++lane) {
            if (lane == 2 && !uring_)
                continue;
            compare(lane, request, result);
            race_.shared().count(lane == 2 ? at::Counter::compared_uring : at::Counter::compared);
        }
        position(random);
    }

private:
    long send(std::uint32_t lane, const Draw& request) {
        iovec vector[at::max_segments];
        for (unsigned i = 0; i < request.segments; ++i)
            vector[i] = {memory_[lane] + request.at[i], request.length[i]};
        const auto at =
            static_cast<off_t>(request.edge ? race_.geometry().device_bytes - request.place
                                            : base_ + lane * stretch_bytes + request.place);
        const int fd = race_.device_fd(0);
        const auto segments = static_cast<int>(request.segments);
        if (lane == 0) {
            const at::Calling calling(request.is_read ? at::Call::pread : at::Call::pwrite);
            const ssize_t got = request.is_read ? preadv(fd, vector, segments, at)
                                                : pwritev(fd, vector, segments, at);
            return got < 0 ? -errno : got;
        }
        if (lane == 2) {
            const at::Calling calling(request.is_read ? at::Call::pread : at::Call::pwrite);
            return uring_ ? uring_.transfer(request.is_read, fd, vector, request.segments, at) : 0;
        }
        iocb cb;
        iocb* pointer = &cb;
        if (request.is_read)
            io_prep_preadv(&cb, fd, vector, segments, at);
        else
            io_prep_pwritev(&cb, fd, vector, segments, at);
        const at::Calling calling(at::Call::io_submit);
        if (const int taken = io_submit(context_, 1, &pointer); taken != 1)
            return taken;
        io_event event;
        int got = 0;
        while ((got = io_getevents(context_, 1, 1, &event, nullptr)) == -EINTR) {
        }
        return got == 1 ? static_cast<long>(event.res) : got;
    }

    void differ(const char* kind, const std::string& title, std::uint32_t lane, const Draw& request,
                const std::string& evidence) {
        race_.shared().report({kind == std::string("result") ? "contract" : "data",
                               title + " through " + lane_names[lane] + " and " + lane_names[0],
                               std::string("differential/") + kind + "/" + lane_names[lane],
                               {evidence, std::string(request.is_read ? "read" : "write") + " of " +
                                              std::to_string(request.segments) + " segments" +
                                              (request.edge ? " at the device's end" : "")}});
    }

    void compare(std::uint32_t lane, const Draw& request, const long* result) {
        if (result[lane] != result[0])
            return differ("result", "the same request has another result", lane, request,
                          std::to_string(result[lane]) + " and " + std::to_string(result[0]));
        // What a failed request moved is nobody's promise.
        if (result[0] >= 0 && std::memcmp(memory_[lane], memory_[0], arena_bytes) != 0)
            return differ("bytes", "the same request leaves other bytes", lane, request, "");
        if (request.is_read || request.edge)
            return;
        // Both stretches hold the same, whatever was moved of a whole write; of a failed one
        // nothing is known, so both are written anew.
        std::vector<std::byte> bytes[2] = {std::vector<std::byte>(longest),
                                           std::vector<std::byte>(longest)};
        const std::uint32_t of[2] = {0, lane};
        for (int i = 0; i < 2; ++i) {
            const auto at = static_cast<off_t>(base_ + of[i] * stretch_bytes + request.place);
            race_.shared().count(at::Counter::outside);
            const at::Calling calling(result[0] < 0 ? at::Call::pwrite : at::Call::pread);
            const ssize_t moved = result[0] < 0
                                      ? pwrite(race_.device_fd(0), bytes[i].data(), longest, at)
                                      : pread(race_.device_fd(0), bytes[i].data(), longest, at);
            if (moved != static_cast<ssize_t>(longest))
                return void(level_ = false); // a time-out of the host
        }
        if (bytes[0] != bytes[1])
            differ("device", "the same write leaves other bytes on the device", lane, request, "");
    }

    // All stretches hold the same bytes again.
    bool make_level() {
        at::pattern_fill(0, 0, memory_[0], longest);
        for (std::uint32_t done = 0; done < lanes * stretch_bytes; done += longest) {
            race_.shared().count(at::Counter::outside);
            const at::Calling calling(at::Call::pwrite);
            if (pwrite(race_.device_fd(0), memory_[0], longest, static_cast<off_t>(base_ + done)) !=
                static_cast<ssize_t>(longest))
                return false;
        }
        level_ = true;
        return true;
    }

    // A file of its own, for its position.
    void position(at::Random& random) {
        const at::Fd file(open(race_.device_path().c_str(), O_RDWR | O_CLOEXEC));
        long sum = 0;
        for (int i = 0; i < 2; ++i) {
            race_.shared().count(at::Counter::outside);
            const at::Calling calling(at::Call::pread);
            const ssize_t got = read(file.get(), memory_[0], random.logarithmic(1, longest));
            if (got < 0)
                return;
            sum += got;
        }
        const std::string text =
            at::read_file("/proc/self/fdinfo/" + std::to_string(file.get())).value_or("");
        long there = -1;
        if (std::sscanf(text.c_str(), "pos: %ld", &there) == 1)
            if (const auto finding = at::judge_shown_position(there, sum))
                race_.shared().report(*finding);
    }

    at::Race& race_;
    std::uint64_t base_ = 0;
    bool level_ = true; // the device's memory begins as zeros
    std::byte* memory_[lanes] = {};
    io_context_t context_ = nullptr;
    at::Uring uring_;
};

const at::Scenario scenario{
    "differential",
    "a request has the same outcome through preadv/pwritev, libaio and io_uring",
    at::common_knobs({{"requests", "1000"}, {"depth", "16"}, {"cancellers", "0"}}),
    {{"submitted", 500}, {"compared", 200}},
    [](at::Race& race) {
        race.start_submitters();
        race.start_reapers();
        race.start_disturbers(1, [&race](std::uint32_t, at::Random random) {
            Lanes compared(race);
            while (!race.stopped())
                compared.round(random);
        });
        race.until_contended();
    },
};

const at::Registration registered(scenario);

} // namespace
