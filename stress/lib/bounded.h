// Calls that may never return, made by a child that can be left behind.
//
// A file in debugfs takes the driver's locks, a module's exit waits for its requests: with a
// broken driver either may block for ever, in a state that SIGKILL does not end.  The agent must
// not be the one that hangs, so such calls are made in a forked child and waited for with a bound.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace at {

struct BoundedAnswer {
    bool in_time = false; // false: the child was left behind (or killed)
    int status = 0;       // what the call returned, or -errno
    std::string text;     // what it wrote
};

// `call` runs in the child; it appends its text to the argument and returns a status.
BoundedAnswer bounded_call(std::chrono::milliseconds bound,
                           const std::function<int(std::string& text)>& call);

BoundedAnswer bounded_read(const std::string& path, std::chrono::milliseconds bound,
                           std::size_t max_bytes = 1 << 20);
BoundedAnswer bounded_write(const std::string& path, const std::string& text,
                            std::chrono::milliseconds bound);

struct ExecAnswer {
    int status = -1; // exit status, or 128 + signal
    bool timed_out = false;
    std::string out;
    std::string err;
};

ExecAnswer bounded_exec(const std::vector<std::string>& argv,
                        const std::vector<std::string>& environment,
                        std::chrono::milliseconds bound, std::size_t max_bytes);

} // namespace at
