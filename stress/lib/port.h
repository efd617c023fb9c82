// The byte stream between host and agent: JSON lines, never blocking for long.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "lib/system.h"

namespace at {

class Port {
public:
    static constexpr std::size_t max_line_bytes = 1 << 20;

    Port(); // stdin and stdout
    // A device such as a virtio port: an end of file there means that the host is not connected
    // (yet, or any more), and is no reason to end.
    explicit Port(const std::string& path);

    // One line, if one comes within the bound.
    std::optional<std::string> receive(std::chrono::milliseconds bound);
    bool closed() const { return closed_; }

    void send(const nlohmann::json& line);
    // May be dropped when the host does not read: progress, never results.
    void send_if_room(const nlohmann::json& line);

private:
    void flush(std::chrono::milliseconds bound);
    std::optional<std::string> take_line();

    Fd owned_;
    int in_ = 0;
    int out_ = 1;
    bool device_ = false;
    bool closed_ = false;
    bool discarding_ = false;
    std::string received_;
    std::string unsent_;
};

std::string base64_encode(const std::string& bytes);
std::optional<std::string> base64_decode(const std::string& text);

} // namespace at
