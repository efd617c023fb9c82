#include "lib/window_director.h"

#include <catch2/catch.hpp>

#include <memory>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "fail_injector.h"
#include "lib/window.h"
#include "lib/window_report.h"

#include <nlohmann/json.hpp>

using namespace at;

namespace {

Meeting meeting(std::uint64_t enter, std::uint64_t exit) {
    Meeting each{};
    each.enter_ns = enter;
    each.exit_ns = exit;
    return each;
}

std::unique_ptr<WindowBook> searching_book() {
    auto book = std::make_unique<WindowBook>();
    const bool racers[racers_count] = {true, true, false, true};
    choose_windows(*book, {}, racers, 200000000);
    return book;
}

} // namespace

TEST_CASE("a call meets a stretch when they overlap by the kernel's clock") {
    const Stretch stretch{AT_IRQ, AT_COMPLETE};
    auto judge = [&](std::uint64_t enter, std::uint64_t exit, std::uint64_t irq,
                     std::uint64_t complete) {
        Meeting each = meeting(enter, exit);
        each.phase_ns[AT_IRQ] = irq;
        each.phase_ns[AT_COMPLETE] = complete;
        return judge_meeting(each, stretch);
    };
    CHECK(judge(120, 150, 100, 200) == Met::yes); // inside
    CHECK(judge(50, 250, 100, 200) == Met::yes);  // around
    CHECK(judge(50, 100, 100, 200) == Met::yes);  // returned as it began
    CHECK(judge(50, 99, 100, 200) == Met::no);
    CHECK(judge(201, 250, 100, 200) == Met::no);
    CHECK(judge(120, 150, 100, 0) == Met::yes); // not over when the call returned
    CHECK(judge(120, 150, 0, 200) == Met::never_there);
    CHECK(judge(0, 0, 100, 200) == Met::never_there); // no call was made
}

TEST_CASE("a stretch whose end was left out ends with the next phase on the way") {
    Meeting each = meeting(300, 350);
    each.phase_ns[AT_QUEUE] = 100;
    each.phase_ns[AT_COMPLETE] = 200; // cancelled in the ring: it never started
    each.phase_ns[AT_UNMAP] = 210;
    CHECK(judge_meeting(each, {AT_QUEUE, AT_START}) == Met::no);
    each.enter_ns = 150;
    CHECK(judge_meeting(each, {AT_QUEUE, AT_START}) == Met::yes);
    each.phase_ns[AT_CANCEL] = 160; // is no step of the way
    each.enter_ns = 190;
    CHECK(judge_meeting(each, {AT_QUEUE, AT_START}) == Met::yes);
}

TEST_CASE("the search has every stretch for each racer that is there") {
    const auto book = searching_book();
    CHECK(book->stretches == 10);
    CHECK(book->hold_ns == AT_HOLD_MAX_NS);
    const auto hits = window_hits(*book);
    CHECK(hits.size() == 30);
    CHECK(hits.contains("canceller in irq..complete"));
    CHECK_FALSE(hits.contains("destroyer in irq..complete"));
    auto brief = std::make_unique<WindowBook>();
    const bool racers[racers_count] = {false, true, false, false};
    choose_windows(*brief, {}, racers, 60000000);
    CHECK(brief->hold_ns == 10000000); // an eighth of the driver's time-out
}

TEST_CASE("a plan's windows are those of the plan, and what cannot be entered is refused") {
    auto book = std::make_unique<WindowBook>();
    const bool racers[racers_count] = {true, true, false, true};
    choose_windows(*book,
                   {{"canceller", "irq", "complete", "50ms"}, {"reaper", "irq", "complete", ""}},
                   racers, 200000000);
    CHECK(book->planned);
    CHECK(book->stretches == 1);
    CHECK(book->hold_ns == AT_HOLD_MAX_NS);
    CHECK(window_hits(*book).size() == 2);
    for (const char* racer : {"device", "destroyer"}) {
        auto other = std::make_unique<WindowBook>();
        CHECK_THROWS_AS(choose_windows(*other, {{racer, "irq", "complete", ""}}, racers, 200000000),
                        PlanError);
    }
}

TEST_CASE("the director's choices depend on the seed and on what was reached") {
    const auto book = searching_book();
    auto choices = [&](std::uint64_t seed) {
        WindowDirector director(*book, Racer::canceller);
        Random random(seed, 2, 0);
        std::vector<std::tuple<std::uint32_t, Bin, std::uint32_t>> made;
        Placement placement;
        for (int i = 0; i < 80 && director.next(random, placement); ++i)
            made.emplace_back(placement.stretch, placement.bin, placement.part);
        return made;
    };
    const auto first = choices(1);
    CHECK(first == choices(1));
    CHECK(first != choices(2));
    std::set<std::pair<std::uint32_t, Bin>> once;
    for (const auto& [stretch, bin, part] : first)
        once.emplace(stretch, bin);
    CHECK(once.size() == 80); // one round meets every stretch and bin
    WindowDirector none(*book, Racer::destroyer);
    Random random(1, 2, 0);
    Placement placement;
    CHECK_FALSE(none.next(random, placement));
}

TEST_CASE("what is covered comes less often than what is not") {
    const auto book = searching_book();
    HeatPair& covered = book->pair[static_cast<std::size_t>(Racer::canceller)][0];
    for (HeatBin& bin : covered.bin) {
        bin.tries = 100;
        bin.hits = 50;
    }
    WindowDirector director(*book, Racer::canceller);
    Random random(7, 2, 0);
    Placement placement;
    int of_covered = 0;
    int of_another = 0;
    for (int i = 0; i < 2000 && director.next(random, placement); ++i) {
        of_covered += placement.stretch == 0;
        of_another += placement.stretch == 1;
    }
    CHECK(of_covered > 0);
    CHECK(of_covered * 3 < of_another * 2);
    const auto map = heat_map(*book);
    CHECK(map["covering_hits"] == covering_hits);
    int pairs = 0;
    for (const auto& pair : map["pairs"])
        pairs += pair["covered"].get<bool>();
    CHECK(pairs == 1);
}

TEST_CASE("delays lie in their bins and follow what was measured") {
    Placement placement;
    placement.bin = Bin::entry_middle;
    for (const std::uint32_t part : {0U, 32768U, 65535U}) {
        placement.part = part;
        const std::uint64_t delay = delay_of(placement, 16000);
        CHECK(delay >= 2000);
        CHECK(delay <= 8000);
    }
    placement.bin = Bin::inside;
    CHECK(delay_of(placement, 16000) == 0);

    std::atomic<std::uint32_t> median{0};
    for (int i = 0; i < 200; ++i)
        take_median(median, i % 10 ? 30000 : 20000000); // one in ten is a CPU that was away
    CHECK(median > 20000);
    CHECK(median < 60000);
}

TEST_CASE("a miss has a reason") {
    const Stretch stretch{AT_START, AT_IRQ};
    Meeting each = meeting(300, 350);
    each.phase_ns[AT_START] = 100;
    each.phase_ns[AT_IRQ] = 200;
    CHECK(why_missed(each, stretch, false) == Miss::outrun);
    CHECK(why_missed(each, stretch, true) == Miss::expired);
    each.phase_ns[AT_CANCEL] = 150;
    CHECK(why_missed(each, stretch, false) == Miss::cancelled);
    each.phase_ns[AT_CANCEL] = 250; // after the end: it ended nothing
    CHECK(why_missed(each, stretch, false) == Miss::outrun);
    each.enter_ns = 50;
    each.exit_ns = 60;
    CHECK(why_missed(each, stretch, true) == Miss::early);
}

TEST_CASE("a call that is not held is aimed so that it overlaps the stretch") {
    const FreeAim aim{100000, 8000, 16000, 20000, 0};
    for (std::uint32_t part = 0; part < 1U << 16; part += 4097) {
        const std::uint64_t enter = free_delay_of(part, aim) + 20000;
        CHECK(enter + 16000 >= 100000); // not returned when A comes
        CHECK(enter <= 108000);         // and entered before B
    }
    FreeAim sooner = aim;
    sooner.shift = -5000;
    CHECK(free_delay_of(0, sooner) + 5000 == free_delay_of(0, aim));
    FreeAim late = aim;
    late.lead = 10000; // there is no time to react: at once
    CHECK(free_delay_of(0, late) == 0);
}

TEST_CASE("nine of ten lengths exceed the short one") {
    std::atomic<std::uint32_t> tenth{0};
    Random random(7, 0, 0);
    for (int i = 0; i < 20000; ++i)
        take_short(tenth, 1000 + random.below(1000));
    CHECK(tenth > 1000);
    CHECK(tenth < 1350);
}
