// What zcdma's debugfs says (docs/interfaces.md section 2).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/system.h"

namespace at {

using Books = std::map<std::string, std::int64_t>;
std::int64_t value_of(const Books& books, const std::string& name); // 0: it is not there

struct DriverRequest {
    std::uint64_t cookie = 0;
    std::string phase;
    std::vector<std::string> references; // holders that have not given back
    std::uint64_t age_us = 0;
    bool sync = false;       // its submitter waits for it in the driver
    int thread = 0;          // … and is this one
    std::int64_t result = 0; // 0: nobody has taken it off the driver's lists to answer it
    std::string line;
};

// What the device's lock guards: read as one.
struct RingState {
    bool halted = false;        // no request is begun
    bool gone = false;          // none will be
    std::uint64_t starts = 0;   // of the engine: the same in two looks, it was not started between
    std::uint64_t room_for = 0; // a request, by its number, that waits although it fits; 0: none
    Books counts; // what is to add up, and what there is none of (docs/interfaces.md)
    std::string text; // all of it, in one line
};

RingState parse_ring(const std::string& text);
Books parse_books(const std::string& text);
std::vector<DriverRequest> parse_requests(const std::string& text);

// Read with a bound, of all devices together; nullopt when there is no such driver or its files
// cannot be read in time (`blocked` then says that they exist and do not answer).
std::optional<Books> read_books(bool* blocked = nullptr);
std::vector<DriverRequest> read_requests(bool* blocked = nullptr);
// Of the first device alone; nullopt: it is not zcdma.  Not by a child, as the two above: a fork
// holds up whoever touches a page.
std::optional<std::vector<DriverRequest>> requests_now();
// Opened before the moment that it looks at, so that this takes one system call (fs/seq_file.c
// shows what is there at the read).  One look.
class RequestsLook {
public:
    RequestsLook();
    std::optional<std::vector<DriverRequest>> now() const;

private:
    Fd file_;
};
// As requests_now().
std::optional<RingState> ring_now();

// "request in phase queue, reference engine not returned"
std::string where_it_stands(const DriverRequest& request);
// "queue/engine"
std::string signature_of(const DriverRequest& request);

} // namespace at
