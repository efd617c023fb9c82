// Write-back: reads into memory of a file, whose pages are cleaned while the reads are in flight,
// so that the driver must dirty them anew, and are given away after the answer.  What a page then
// reads as must be what it held before.
//
// Legal outcomes:
//   a read             its result, whatever the plan's faults make of it; its context may be
//                      destroyed under it
//   its pages          what they held when the driver had let go of them, read from the file again
#include "lib/disturb/disturb.h"

#include <algorithm>

#include "lib/disturb/own_reads.h"
#include "lib/oracles/residue.h"
#include "lib/pattern.h"
#include "lib/race.h"
#include "lib/racer.h"
#include "lib/written_back.h"

namespace at {

namespace {

constexpr std::uint32_t page_bytes = 4096;
constexpr std::uint32_t most_reads = 8;
constexpr std::uint32_t most_pages = 12; // of one read
constexpr std::size_t memory_bytes = std::size_t{most_reads} * most_pages * page_bytes;
// The driver lets go of pages after its event, and dirties them in a work item.
constexpr std::uint32_t drop_tries = 6;
constexpr std::uint64_t between_tries_ns = 200000;

class Cleaner {
public:
    Cleaner(Race& race, std::uint32_t index)
        : race_(race), reads_(race, index, most_reads, most_pages) {
        std::string why;
        if (!memory_.map(written_back_file, index * memory_bytes, memory_bytes, why))
            race.harness_error(why);
    }

    // False: the race is over.
    bool round(Random& random) {
        if (race_.stopped())
            return false;
        reads_.draw(memory_.start(), random);
        // What is clean is made dirty by the pin, what is dirty was so before.
        if (random.below(2))
            memory_.clean(0, memory_bytes, true);
        if (!reads_.submit())
            return true;
        clean(random);
        if (random.below(8) == 0) {
            reads_.end_context();
            return true;
        }
        if (!reads_.await_all())
            return false;
        reads_.judge_arrival(memory_.start());
        for (const OwnReads::Read& read : reads_.all())
            if (read.res > 0)
                give_away(read);
        return true;
    }

private:
    // The last read first, and its last pages: the device comes to them last.  One page alone, too:
    // who finds any that is clean dirties all.
    void clean(Random& random) {
        for (std::size_t i = reads_.all().size(); i-- > 0;) {
            const OwnReads::Read& read = reads_.all()[i];
            const auto pages = static_cast<std::uint32_t>(read.bytes / page_bytes);
            std::uint32_t count = random.below(2) ? pages : pages / (1 + random.below(4));
            if (random.below(3) == 0)
                count = 1;
            count = std::max(count, 1U);
            const std::uint32_t first =
                count == 1 && random.below(2) ? random.below(pages) : pages - count;
            {
                const Calling calling(Call::write_back);
                memory_.clean(read.from + std::size_t{first} * page_bytes,
                              std::size_t{count} * page_bytes, random.below(8) == 0);
            }
            reads_.take_events(0);
            if (!read.ended)
                race_.disturbed(Counter::cleaned_inflight);
        }
    }

    void give_away(const OwnReads::Read& read) {
        const std::vector<std::uint64_t> before = checksums(read);
        std::vector<bool> gone;
        for (std::uint32_t i = 0; i < drop_tries && !race_.stopped(); ++i) {
            if (i)
                race_.pause(between_tries_ns);
            const Calling calling(Call::write_back);
            gone = memory_.drop(read.from, read.bytes);
            if (std::count(gone.begin(), gone.end(), false) == 0)
                break;
        }
        race_.shared().count(Counter::pages_dropped, static_cast<std::uint64_t>(std::count(
                                                         gone.begin(), gone.end(), true)));
        if (const auto finding = judge_given_away(before, checksums(read)))
            race_.shared().report(*finding);
    }

    std::vector<std::uint64_t> checksums(const OwnReads::Read& read) const {
        std::vector<std::uint64_t> sums;
        for (std::size_t at = 0; at < read.bytes; at += page_bytes)
            sums.push_back(checksum(memory_.start() + read.from + at, page_bytes));
        return sums;
    }

    Race& race_;
    WrittenBack memory_;
    OwnReads reads_; // its context ends before the memory does
};

} // namespace

bool can_write_back(std::string& why) {
    return WrittenBack().map(written_back_file, 0, memory_bytes, why);
}

void start_write_back(Race& race, std::uint32_t threads) {
    race.start_disturbers(threads, [&race](std::uint32_t index, Random random) {
        Cleaner cleaner(race, index);
        while (cleaner.round(random))
            race.pause_drawn(random, 10, 2000);
    });
}

} // namespace at
