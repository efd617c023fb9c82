// What each reference of a kiocb was taken for, beside the ki_users of 2.6: aio_put_req() does not
// say whose it drops, so these name the one that its author meant. Under ctx_lock, as ki_users.
#pragma once

#include "lib/core.hpp"

namespace at::model {

class KiUsersBooks {
public:
    enum Holder : unsigned { submit, io, cancel, holders };

    explicit KiUsersBooks(std::initializer_list<Holder> first) {
        for (const Holder holder : first)
            take(holder);
    }
    void take(Holder holder) { ++held_[holder]; }
    void drop(Holder holder) {
        if (--held_[holder] < 0)
            exec->fail("reference",
                       std::string("ki_users dropped for ") + name[holder] + ", which holds none",
                       std::string("ki_users:") + name[holder] + ":not-held", Location::current());
    }
    // When somebody waits for ever for this kiocb to go.
    void name_missing() const {
        for (unsigned holder = 0; holder < holders; ++holder)
            if (held_[holder] > 0)
                exec->found("reference",
                            std::string("ki_users: the reference of ") + name[holder] +
                                " is never dropped",
                            std::string("ki_users:") + name[holder] + ":never-dropped",
                            Location::current());
    }

private:
    static constexpr const char* name[] = {"submit", "io", "cancel"};
    int held_[holders] = {};
};

} // namespace at::model
