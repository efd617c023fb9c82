// References by holder, and the ledger with each era's contract.
#pragma once

#include "lib/sync.hpp"

#include <array>

namespace at::model {

// A reference count whose holders have names. put() by a holder that has none is a finding of
// its own, unless the code under test does not say whose reference it drops: then the holder
// given is the one whose reference the text's comment or order means.
class Refs : public Cell {
public:
    static constexpr unsigned holders_max = 8;

    Refs(const char* cell_name, const char* first_holder) : Cell(cell_name) {
        holder_[0] = {first_holder, 1};
    }
    void get(const char* holder, Location where = Location::current());
    // atomic_inc_not_zero(): false, and nothing taken, when the last has gone.
    bool get_unless_zero(const char* holder, Location where = Location::current());
    // True when it was the last. Order as refcount_dec_and_test().
    bool put(const char* holder, Location where = Location::current());
    int count() const { return count_; }
    // "cancel", "cancel,engine": who still holds one; empty when nobody does.
    std::string holders() const;

private:
    struct Holder {
        const char* name;
        int held;
    };
    Holder& holder(const char* name);
    std::array<Holder, holders_max> holder_{};
    int count_ = 1;
};

// What an era owes for each request.
struct Contract {
    const char* era;
    bool cancelled_sends_event; // false: io_cancel() answers synchronously, and no event comes
};
inline constexpr Contract contract_2003{"2.6.0-test9", false};
inline constexpr Contract contract_2_6_33{"2.6.33", false};
inline constexpr Contract contract_today{"6.x", true};

// One request's line of the ledger. Entries are not points: they watch.
class Ledger {
public:
    static constexpr unsigned requests_max = 16;
    using Request = unsigned;

    explicit Ledger(Contract contract) : contract_(contract) {}

    // Accepted by io_submit. `name` is stable: "r0", "poll".
    Request submitted(const char* name);
    // An event came through the ring. A second one is double-completion at once.
    void event(Request request, long result, Location where = Location::current());
    // io_cancel() succeeded; with a synchronous contract, this is the answer.
    void cancelled(Request request, Location where = Location::current());
    // Submission failed after all: nothing is owed.
    void refused(Request request);
    // io_destroy or exit swept it: an event may come, but nobody is left to miss it.
    void swept(Request request) { line_[request].swept = true; }
    unsigned events(Request request) const { return line_[request].events; }
    bool was_cancelled(Request request) const { return line_[request].cancelled; }
    long result(Request request) const { return line_[request].result; }
    // Each request has what its contract owes. To be called from an end check.
    void check(Location where = Location::current()) const;

private:
    struct Line {
        const char* name;
        unsigned events;
        long result;
        bool cancelled;
        bool refused;
        bool swept;
    };
    Contract contract_;
    unsigned requests_ = 0;
    std::array<Line, requests_max> line_{};
};

} // namespace at::model
