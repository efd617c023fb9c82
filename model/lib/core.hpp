// How a core is written down: a build function that lays out one schedule, and a registration that
// names its variants with what each must show. docs/model.md has the whole in two pages.
#pragma once

#include "lib/books.hpp"
#include "lib/events.hpp"
#include "lib/list.hpp"
#include "lib/memory.hpp"
#include "lib/sync.hpp"

#include <string_view>
#include <vector>

namespace at::model {

struct Expected {
    std::string_view signature; // exact; a last '*' stands for any rest
    std::string_view reason;    // the text's claim, or the commit that fixed it
    bool required = true;       // false: a further consequence that need not show
};

// The same finding where another may come first, so that a complete search need not meet it.
constexpr Expected maybe(Expected one) {
    one.required = false;
    return one;
}

struct Variant {
    std::string_view name; // as-posted, fixed, …
    std::string_view about;
    std::vector<Expected> expected;
    // Above 0: too large to search completely; so many random schedules where nobody says more.
    std::uint64_t sampled = 0;
    std::optional<Limits> limits = std::nullopt; // in place of the core's
};

struct Bounds {
    unsigned racers = 3;
    unsigned preemptions = 2;
    Limits limits{};
};

// What build functions see. Everything is made anew for each schedule.
class Setup {
public:
    Setup(unsigned variant, unsigned racers) : variant_(variant), racers_(racers) {}

    unsigned variant() const { return variant_; } // index into Core::variants
    unsigned racers() const { return racers_; }   // --threads, or Bounds::racers

    // A task. Its function runs on a fiber's stack of 60 KiB.
    template <class F> void task(const char* name, Racer racer, F function) {
        fiber(name, racer, Context::task, function);
    }
    // Runs once, at any time, in hardirq context.
    template <class F> void irq(const char* name, Racer racer, F function) {
        fiber(name, racer, Context::hardirq, function);
    }
    // When all fibers have finished without a finding.
    template <class F> void at_end(F check) {
        exec->at_end([](void* f) { (*static_cast<F*>(f))(); }, keep(check));
    }
    // When fibers wait for ever: names what is missing, by exec->found().
    template <class F> void at_hang(F look) {
        exec->at_hang([](void* f) { (*static_cast<F*>(f))(); }, keep(look));
    }

private:
    template <class F> static void* keep(F function) {
        static_assert(std::is_trivially_destructible_v<F>, "schedules end without destructors");
        return new (exec->allocate(sizeof(F), alignof(F))) F(function);
    }
    template <class F> void fiber(const char* name, Racer racer, Context context, F function) {
        exec->spawn(
            name, racer, context, [](void* f) { (*static_cast<F*>(f))(); }, keep(function), false);
    }
    unsigned variant_;
    unsigned racers_;
};

struct Core {
    std::string_view name;
    std::string_view about;
    std::string_view cites;
    std::vector<Variant> variants;
    void (*build)(Setup&);
    Bounds bounds{};
};

const std::vector<const Core*>& cores(); // by name
const Core* find_core(std::string_view name);

struct Register {
    explicit Register(Core core);
};

// The observable end of a schedule; the set of these is compared with and without reduction.
void outcome(const char* format, ...) __attribute__((format(printf, 1, 2)));

// A finding of the core's own: require(x == 0, "ledger", "r0:wrong-result", "r0 publishes …").
void require(bool holds, const char* oracle, const char* cause, const char* title,
             Location where = Location::current());

inline unsigned choose(unsigned n, const char* what, Location where = Location::current()) {
    return exec->choose(n, what, where);
}

} // namespace at::model
