// Write-back: reads into memory of a file, whose pages are cleaned while the reads are in flight,
// so that the driver must dirty them anew, and are given away after the answer.  What a page then
// reads as must be what it held before.
//
// The requests are the disturbance's own, in a context of its own, long and several at once: they
// are in the ring for as long as a write-back takes, and end together.
//
// Legal outcomes:
//   a read             its result, whatever the plan's faults make of it; its context may be
//                      destroyed under it
//   its pages          what they held when the driver had let go of them, read from the file again
#include "lib/disturb/disturb.h"

#include <algorithm>
#include <cerrno>

#include <libaio.h>

#include "lib/oracles/residue.h"
#include "lib/pattern.h"
#include "lib/race.h"
#include "lib/racer.h"
#include "lib/written_back.h"

namespace at {

namespace {

constexpr std::uint32_t page_bytes = 4096;
constexpr std::uint32_t most_reads = 12;
constexpr std::uint32_t most_pages = 32; // of one read
constexpr std::size_t memory_bytes = std::size_t{most_reads} * most_pages * page_bytes;
// The driver lets go of pages after its event, and dirties them in a work item.
constexpr std::uint32_t drop_tries = 6;
constexpr std::uint64_t between_tries_ns = 200000;

struct Read {
    iocb cb;
    std::size_t from; // of its pages, in the memory
    std::size_t bytes;
    std::int64_t res;
    bool ended;
};

class Reader {
public:
    Reader(Race& race, std::uint32_t index) : race_(race), index_(index) {}
    ~Reader() { end_context(); }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    // False: nothing can be asked any more.
    bool round(Random& random) {
        if (!memory_.start() && !begin())
            return false;
        if (!context_ && !make_context())
            return false;
        draw(random);
        if (!submit())
            return true;
        clean(random);
        if (random.below(8) == 0) {
            end_context(); // with whatever is in flight
            return true;
        }
        if (!await_all())
            return false;
        for (Read& read : reads_)
            if (read.res > 0)
                give_away(read);
        return true;
    }

private:
    bool begin() {
        std::string why;
        if (memory_.map(written_back_file, index_ * memory_bytes, memory_bytes, why))
            return true;
        race_.harness_error(why);
        return false;
    }

    bool make_context() {
        if (const int answer = io_setup(most_reads, &context_)) {
            race_.harness_error("io_setup: " + errno_name(-answer));
            return false;
        }
        return true;
    }

    void end_context() {
        if (!context_)
            return;
        const Calling calling(Call::io_destroy);
        io_destroy(context_);
        context_ = nullptr;
    }

    void draw(Random& random) {
        reads_.resize(1 + random.below(most_reads));
        std::size_t at = 0;
        for (Read& read : reads_) {
            const std::uint32_t longest = std::min(most_pages * page_bytes, longest_read());
            const std::uint32_t length = random.below(2) ? longest : random.logarithmic(1, longest);
            const std::uint32_t before = random.below(page_bytes);
            read.from = at;
            read.bytes = (std::min(before + length, most_pages * page_bytes) + page_bytes - 1) /
                         page_bytes * page_bytes;
            read.res = 0;
            read.ended = false;
            at += read.bytes;
            pattern_fill(stamp(Stamp::payload, index_, ++fills_), 0, memory_.start() + read.from,
                         read.bytes);
            io_prep_pread(&read.cb, race_.device_fd(0), memory_.start() + read.from + before,
                          read.bytes - before, device_at(read.bytes, random));
            read.cb.data = &read;
        }
        // What is clean is made dirty by the pin, what is dirty was so before.
        if (random.below(2))
            memory_.clean(0, at, true);
    }

    std::uint32_t longest_read() const {
        return static_cast<std::uint32_t>(
            std::min<std::uint64_t>(race_.geometry().device_bytes / 2, most_pages * page_bytes));
    }

    long long device_at(std::size_t bytes, Random& random) const {
        const std::uint64_t places = (race_.geometry().device_bytes - bytes) / page_bytes;
        return static_cast<long long>(random.below(static_cast<std::uint32_t>(places))) *
               page_bytes;
    }

    // False: none was taken.
    bool submit() {
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

    // The last read first, and its last pages: the device comes to them last.
    void clean(Random& random) {
        for (std::size_t i = reads_.size(); i-- > 0;) {
            const Read& read = reads_[i];
            const std::size_t part = random.below(2) ? 1 : 1 + random.below(4);
            const std::size_t bytes =
                std::max<std::size_t>(read.bytes / page_bytes / part, 1) * page_bytes;
            {
                const Calling calling(Call::write_back);
                memory_.clean(read.from + read.bytes - bytes, bytes, random.below(8) == 0);
            }
            take_events(0);
            if (!read.ended)
                race_.disturbed(Counter::cleaned_inflight);
        }
    }

    void take_events(long timeout_ns) {
        io_event events[most_reads];
        timespec timeout{0, timeout_ns};
        int got = 0;
        {
            const Calling calling(Call::io_getevents);
            got = io_getevents(context_, timeout_ns ? 1 : 0, most_reads, events, &timeout);
        }
        for (int i = 0; i < got; ++i) {
            auto* read = static_cast<Read*>(events[i].data);
            read->res = static_cast<std::int64_t>(events[i].res);
            read->ended = true;
        }
    }

    // False when the race is over: the context's end waits for what is left.
    bool await_all() {
        while (std::any_of(reads_.begin(), reads_.end(), [](const Read& r) { return !r.ended; })) {
            if (race_.stopped())
                return false;
            take_events(1000000);
        }
        return true;
    }

    void give_away(const Read& read) {
        const std::byte* const bytes = memory_.start() + read.from;
        std::vector<std::uint64_t> before;
        std::vector<std::uint64_t> after;
        for (std::size_t at = 0; at < read.bytes; at += page_bytes)
            before.push_back(checksum(bytes + at, page_bytes));
        std::vector<bool> gone;
        for (std::uint32_t i = 0; i < drop_tries && !race_.stopped(); ++i) {
            if (i)
                race_.pause(between_tries_ns);
            const Calling calling(Call::write_back);
            gone = memory_.drop(read.from, read.bytes);
            if (std::count(gone.begin(), gone.end(), false) == 0)
                break;
        }
        for (std::size_t at = 0; at < read.bytes; at += page_bytes)
            after.push_back(checksum(bytes + at, page_bytes));
        race_.shared().count(Counter::pages_dropped, static_cast<std::uint64_t>(std::count(
                                                         gone.begin(), gone.end(), true)));
        if (const auto finding = judge_given_away(before, after))
            race_.shared().report(*finding);
    }

    Race& race_;
    const std::uint32_t index_;
    WrittenBack memory_;
    io_context_t context_ = nullptr;
    std::vector<Read> reads_;
    std::uint64_t fills_ = 0;
};

} // namespace

bool can_write_back(std::string& why) {
    return WrittenBack().map(written_back_file, 0, memory_bytes, why);
}

void start_write_back(Race& race, std::uint32_t threads) {
    race.start_disturbers(threads, [&race](std::uint32_t index, Random random) {
        Reader reader(race, index);
        while (!race.stopped() && reader.round(random))
            race.pause_drawn(random, 10, 2000);
    });
}

} // namespace at
