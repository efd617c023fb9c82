// The ledger's side of events and contexts: what may not be answered is reported.
#include <catch2/catch.hpp>

#include <array>
#include <atomic>
#include <memory>
#include <thread>

#include <libaio.h>

#include "lib/kioctx.h"

namespace {

std::vector<std::string> told(const at::SharedRun& run) {
    std::uint32_t next = 0;
    std::vector<std::string> signatures;
    for (const at::Finding& finding : run.findings.collect(next))
        signatures.push_back(finding.signature);
    return signatures;
}

using Signatures = std::vector<std::string>;

io_event event_of(std::uint64_t generation, iocb* obj) {
    io_event event{};
    event.data = reinterpret_cast<void*>(at::user_data_of(0, generation));
    event.obj = obj;
    return event;
}

std::unique_ptr<at::SharedRun> run_of_one() {
    auto run = std::make_unique<at::SharedRun>();
    at::Calling::attach(run->threads[0], at::Role::main);
    run->slots_used = 1;
    run->slots[0].events.store(7 << 8);
    return run;
}

bool kernel_has_aio() {
    io_context_t context = nullptr;
    if (io_setup(1, &context) == 0)
        return io_destroy(context) == 0;
    WARN("no AIO on this kernel: nothing was tested");
    return false;
}

} // namespace

TEST_CASE("a second event, a stranger's, and one with another iocb's address are told") {
    auto run = run_of_one();
    std::array<iocb, 2> iocbs{};
    CHECK(at::claim_event(*run, iocbs, event_of(7, iocbs.data())) == 0U);
    CHECK(told(*run).empty());
    CHECK(!at::claim_event(*run, iocbs, event_of(7, iocbs.data())));
    CHECK(!at::claim_event(*run, iocbs, event_of(8, iocbs.data())));
    run->slots[0].events.store(9 << 8);
    CHECK(at::claim_event(*run, iocbs, event_of(9, &iocbs[1])) == 0U);
    CHECK(told(*run) == Signatures{"ledger/duplicate", "ledger/stranger", "contract/obj"});
    CHECK(run->value(at::Counter::events_dup) == 1);
}

TEST_CASE("an iocb that io_submit refused has no event") {
    auto run = run_of_one();
    run->slots[0].word.store(at::slot_word(7, at::SlotState::prepared));
    at::book_refused(*run, 0);
    CHECK(told(*run).empty());
    run->slots[0].word.store(at::slot_word(8, at::SlotState::answered));
    at::book_refused(*run, 0);
    CHECK(told(*run) == Signatures{"contract/refused-answered"});
}

// A page that no io_setup() mapped stands for a context that the kernel has lost.
TEST_CASE("a live context that the kernel does not know is told by each call") {
    if (!kernel_has_aio())
        return;
    alignas(4096) static std::array<std::byte, 4096> page{};
    auto run = run_of_one();
    at::ContextSlot& context = run->contexts[0];
    context.id.store(reinterpret_cast<std::uint64_t>(page.data()));
    context.state.store(at::ContextState::live);
    SECTION("io_getevents") {
        const at::Inside inside(context);
        std::array<io_event, 1> room{};
        at::reap_events(*run, context, inside, 0, 0, room, [](const io_event&, bool) {});
        CHECK(told(*run) == Signatures{"contract/getevents-EINVAL"});
    }
    SECTION("io_destroy, in a race") {
        at::Random random(1, 0, 0);
        CHECK(at::destroy_context(*run, 0, random, false) == at::Destruction::ended);
        CHECK(told(*run) == Signatures{"contract/destroy-nobody"});
    }
    SECTION("io_destroy, in the end") {
        at::end_contexts(*run, 1);
        CHECK(told(*run) == Signatures{"contract/destroy-EINVAL"});
    }
}

TEST_CASE("two destroyers of one context meet, and one of them wins") {
    if (!kernel_has_aio())
        return;
    auto run = run_of_one();
    at::ContextSlot& context = run->contexts[0];
    for (std::uint32_t i = 0; i < 400 && run->value(at::Counter::destroyers_met) < 3; ++i) {
        io_context_t id = nullptr;
        REQUIRE(io_setup(1, &id) == 0);
        context.id.store(reinterpret_cast<std::uint64_t>(id));
        context.in_flight.store(1);
        context.state.store(at::ContextState::live);
        std::atomic<bool> over{false};
        std::thread second([&] {
            at::Calling::attach(run->threads[1], at::Role::destroyer);
            at::Random random(1, 1, i);
            while (!over.load() && !at::context_to_meet_at(*run)) {
            }
            at::destroy_context(*run, 0, random, true);
        });
        at::Random random(1, 0, i);
        CHECK(at::destroy_context(*run, 0, random, true) == at::Destruction::ended);
        over.store(true);
        second.join();
    }
    CHECK(run->value(at::Counter::destroyers_met) >= 3);
    CHECK(run->value(at::Counter::destroy_einval) >= 3);
    CHECK(run->destroy_meeting.load() == 0);
    CHECK(told(*run).empty());
}
