#include "lib/disturb/own_reads.h"

#include <algorithm>
#include <ctime>

#include "lib/oracles/residue.h"
#include "lib/pattern.h"
#include "lib/race.h"
#include "lib/racer.h"

namespace at {

namespace {

constexpr std::uint32_t page_bytes = 4096;

} // namespace

OwnReads::OwnReads(Race& race, std::uint32_t index, std::uint32_t most_reads,
                   std::uint32_t most_pages)
    : race_(race), index_(index), most_reads_(most_reads),
      most_pages_(static_cast<std::uint32_t>(
          std::min<std::uint64_t>(most_pages, race.geometry().device_bytes / 2 / page_bytes))) {}

void OwnReads::draw(std::byte* memory, Random& random, int fd) {
    reads_.resize(random.below(4) ? most_reads_ : 1 + random.below(most_reads_));
    std::size_t at = 0;
    for (Read& read : reads_) {
        const std::uint32_t pages =
            random.below(2) ? most_pages_ : random.logarithmic(1, most_pages_);
        read.from = at;
        read.bytes = std::size_t{pages} * page_bytes;
        // Ends anywhere in its last page; a payload of fewer pages than it lies in begins further
        // behind a page's begin than it ends.
        const std::uint32_t into = random.below(page_bytes);
        const std::uint32_t fewer = pages > 1 && into && random.below(2) ? page_bytes - into : 0;
        const std::uint32_t most_cut = page_bytes - (pages == 1 ? into : fewer);
        read.into = into;
        read.cut = random.below(4) ? fewer + random.below(most_cut) : 0;
        // No slot's: what a slot has written may be read here.
        read.fill = stamp(Stamp::canary, max_slots - 1 - index_, ++fills_);
        read.res = 0;
        read.ended = false;
        at += read.bytes;
        pattern_fill(read.fill, 0, memory + read.from, read.bytes);
        io_prep_pread(&read.cb, fd < 0 ? race_.device_fd(0) : fd, memory + read.from + read.into,
                      read.bytes - read.into - read.cut, device_at(read.bytes, random));
        read.cb.data = &read;
    }
}

long long OwnReads::device_at(std::size_t bytes, Random& random) const {
    const std::uint64_t places = (race_.geometry().device_bytes - bytes) / page_bytes;
    return static_cast<long long>(random.below(static_cast<std::uint32_t>(places))) * page_bytes;
}

bool OwnReads::submit() {
    if (!context_)
        if (const int answer = io_setup(static_cast<int>(most_reads_), &context_)) {
            race_.harness_error("io_setup: " + errno_name(-answer));
            return false;
        }
    std::vector<iocb*> pointers;
    for (Read& read : reads_)
        pointers.push_back(&read.cb);
    race_.shared().count(Counter::outside, pointers.size());
    int taken = 0;
    {
        const Calling calling(Call::io_submit);
        taken = io_submit(context_, static_cast<long>(pointers.size()), pointers.data());
    }
    for (std::size_t i = static_cast<std::size_t>(std::max(taken, 0)); i < reads_.size(); ++i)
        reads_[i].ended = true;
    return taken > 0;
}

void OwnReads::cancel_some(Random& random) {
    for (Read& read : reads_) {
        if (read.ended || random.below(2))
            continue;
        io_event unused{};
        const Calling calling(Call::io_cancel);
        io_cancel(context_, &read.cb, &unused);
    }
}

void OwnReads::take_events(long timeout_ns) {
    std::vector<io_event> events(most_reads_);
    timespec timeout{0, timeout_ns};
    int got = 0;
    {
        const Calling calling(Call::io_getevents);
        got = io_getevents(context_, timeout_ns ? 1 : 0, static_cast<long>(events.size()),
                           events.data(), &timeout);
    }
    for (int i = 0; i < got; ++i) {
        auto* read = static_cast<Read*>(events[static_cast<std::size_t>(i)].data);
        read->res = static_cast<std::int64_t>(events[static_cast<std::size_t>(i)].res);
        read->ended = true;
    }
}

bool OwnReads::await_all() {
    while (
        std::any_of(reads_.begin(), reads_.end(), [](const Read& read) { return !read.ended; })) {
        if (race_.stopped())
            return false;
        take_events(1000000);
    }
    return true;
}

void OwnReads::end_context() {
    if (!context_)
        return;
    const Calling calling(Call::io_destroy);
    io_destroy(context_);
    context_ = nullptr;
}

void OwnReads::judge_arrival(const std::byte* memory) const {
    for (const Read& read : reads_)
        if (const auto finding =
                judge_arrived(read.fill, read.into, memory + read.from, read.res)) {
            race_.shared().report(*finding);
            return;
        }
}

} // namespace at
