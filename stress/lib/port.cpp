#include "lib/port.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

namespace at {

namespace {

constexpr std::size_t progress_backlog_bytes = 256 << 10;
constexpr char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

} // namespace

Port::Port() {
    fcntl(out_, F_SETFL, fcntl(out_, F_GETFL) | O_NONBLOCK);
}

Port::Port(const std::string& path)
    : owned_(open(path.c_str(), O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)), device_(true) {
    if (!owned_)
        throw_errno("open " + path);
    in_ = out_ = owned_.get();
}

std::optional<std::string> Port::take_line() {
    for (;;) {
        const auto end = received_.find('\n');
        if (end == std::string::npos) {
            if (received_.size() > max_line_bytes) {
                received_.clear();
                discarding_ = true;
            }
            return std::nullopt;
        }
        std::string line = received_.substr(0, end);
        received_.erase(0, end + 1);
        if (std::exchange(discarding_, false))
            continue;
        if (!line.empty() && line.back() == '\r')
            line.pop_back();
        if (!line.empty())
            return line;
    }
}

std::optional<std::string> Port::receive(std::chrono::milliseconds bound) {
    using Clock = std::chrono::steady_clock;
    const auto until = Clock::now() + bound;
    for (;;) {
        flush(std::chrono::milliseconds(0));
        if (auto line = take_line())
            return line;
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
        if (closed_ || left.count() < 0)
            return std::nullopt;
        pollfd polled{in_, static_cast<short>(POLLIN | (unsent_.empty() ? 0 : POLLOUT)), 0};
        if (in_ != out_)
            polled.events = POLLIN;
        const int wait_ms = static_cast<int>(left.count());
        ::poll(&polled, 1, unsent_.empty() ? wait_ms : std::min(wait_ms, 10));
        if (!(polled.revents & (POLLIN | POLLHUP | POLLERR)))
            continue;
        char chunk[65536];
        const ssize_t got = read(in_, chunk, sizeof chunk);
        if (got > 0) {
            received_.append(chunk, static_cast<std::size_t>(got));
        } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
            if (!device_)
                closed_ = true;
            else // POLLHUP stays set while the host is away: poll() would spin
                ::poll(nullptr, 0, std::min(std::max(wait_ms, 0), 5));
        }
    }
}

void Port::flush(std::chrono::milliseconds bound) {
    using Clock = std::chrono::steady_clock;
    const auto until = Clock::now() + bound;
    while (!unsent_.empty()) {
        const ssize_t put = write(out_, unsent_.data(), unsent_.size());
        if (put > 0) {
            unsent_.erase(0, static_cast<std::size_t>(put));
            continue;
        }
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno != EAGAIN && !device_) {
            closed_ = true;
            unsent_.clear();
            return;
        }
        if (Clock::now() >= until)
            return;
        pollfd polled{out_, POLLOUT, 0};
        ::poll(&polled, 1, 10);
    }
}

void Port::send(const nlohmann::json& line) {
    unsent_ += line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    flush(std::chrono::milliseconds(2000));
}

void Port::send_if_room(const nlohmann::json& line) {
    if (unsent_.size() > progress_backlog_bytes)
        return;
    unsent_ += line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    flush(std::chrono::milliseconds(0));
}

std::string base64_encode(const std::string& bytes) {
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::size_t present = std::min<std::size_t>(3, bytes.size() - i);
        std::uint32_t group = 0;
        for (std::size_t j = 0; j < 3; ++j)
            group = group << 8 | (j < present ? static_cast<unsigned char>(bytes[i + j]) : 0U);
        for (std::size_t j = 0; j < 4; ++j)
            text += j <= present ? base64_alphabet[group >> (18 - 6 * j) & 63] : '=';
    }
    return text;
}

std::optional<std::string> base64_decode(const std::string& text) {
    static const auto reverse = [] {
        std::array<int, 256> table{};
        table.fill(-1);
        for (int i = 0; i < 64; ++i)
            table[static_cast<unsigned char>(base64_alphabet[i])] = i;
        return table;
    }();
    std::string bytes;
    bytes.reserve(text.size() / 4 * 3);
    std::uint32_t group = 0;
    int bits = 0;
    for (const char c : text) {
        if (c == '=' || c == '\n')
            continue;
        const int value = reverse[static_cast<unsigned char>(c)];
        if (value < 0)
            return std::nullopt;
        group = group << 6 | static_cast<std::uint32_t>(value);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes += static_cast<char>(group >> bits & 0xff);
        }
    }
    return bytes;
}

} // namespace at
