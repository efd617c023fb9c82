// FunctionFS (drivers/usb/gadget/function/f_fs.c): descriptors and strings are written to ep0,
// which makes the endpoints' files; the gadget around it is configfs's, and is bound by writing its
// UDC.

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include <endian.h>
#include <fcntl.h>
#include <linux/usb/functionfs.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/system.h"
#include "lib/usb/gadget.h"

namespace at {

namespace {

constexpr char gadget_folder[] = "/sys/kernel/config/usb_gadget/aiotorture";
constexpr char udc_class[] = "/sys/class/udc";

class Bytes {
public:
    template <typename T> void add(const T& value) {
        const auto* from = reinterpret_cast<const char*>(&value);
        bytes_.append(from, sizeof value);
    }
    void add(const std::string& text) { bytes_.append(text.c_str(), text.size() + 1); }
    std::string& text() { return bytes_; }

private:
    std::string bytes_;
};

void add_interface(Bytes& bytes, std::uint32_t endpoints, std::uint16_t packet) {
    usb_interface_descriptor interface {};
    interface.bLength = sizeof interface;
    interface.bDescriptorType = USB_DT_INTERFACE;
    interface.bNumEndpoints = static_cast<std::uint8_t>(endpoints);
    interface.bInterfaceClass = USB_CLASS_VENDOR_SPEC;
    interface.iInterface = 1;
    bytes.add(interface);
    for (std::uint32_t i = 0; i < endpoints; ++i) {
        usb_endpoint_descriptor_no_audio endpoint{};
        endpoint.bLength = sizeof endpoint;
        endpoint.bDescriptorType = USB_DT_ENDPOINT;
        endpoint.bEndpointAddress = endpoint_address(i);
        endpoint.bmAttributes = USB_ENDPOINT_XFER_BULK;
        endpoint.wMaxPacketSize = htole16(packet);
        bytes.add(endpoint);
    }
}

// struct usb_functionfs_descs_head_v2, the counts that its flags announce, then the descriptors.
std::string descriptors(std::uint32_t endpoints) {
    Bytes body;
    body.add(htole32(1 + endpoints));
    body.add(htole32(1 + endpoints));
    add_interface(body, endpoints, 64);
    add_interface(body, endpoints, 512);
    usb_functionfs_descs_head_v2 head{};
    head.magic = htole32(FUNCTIONFS_DESCRIPTORS_MAGIC_V2);
    head.flags = htole32(FUNCTIONFS_HAS_FS_DESC | FUNCTIONFS_HAS_HS_DESC);
    head.length = htole32(static_cast<std::uint32_t>(sizeof head + body.text().size()));
    Bytes all;
    all.add(head);
    return all.text() + body.text();
}

std::string strings() {
    Bytes body;
    body.add(htole16(0x0409));
    body.add(std::string("aiotorture"));
    usb_functionfs_strings_head head{};
    head.magic = htole32(FUNCTIONFS_STRINGS_MAGIC);
    head.length = htole32(static_cast<std::uint32_t>(sizeof head + body.text().size()));
    head.str_count = htole32(1);
    head.lang_count = htole32(1);
    Bytes all;
    all.add(head);
    return all.text() + body.text();
}

void put(int fd, const std::string& bytes, const char* what) {
    if (write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
        throw_errno(std::string("functionfs: ") + what);
}

class FunctionFs : public Gadget {
public:
    FunctionFs(std::string ep0_path, std::uint32_t endpoints)
        : ep0_path_(std::move(ep0_path)), folder_(std::filesystem::path(ep0_path_).parent_path()),
          endpoints_(endpoints), grave_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
        if (!grave_)
            throw_errno("eventfd");
        for (std::uint32_t i = 0; i < endpoints_; ++i)
            files_[i] = Fd(dup(grave_.get()));
    }

    void open() override {
        ep0_ = Fd(::open(ep0_path_.c_str(), O_RDWR | O_CLOEXEC));
        if (!ep0_)
            throw_errno("open " + ep0_path_);
        put(ep0_.get(), descriptors(endpoints_), "descriptors");
        put(ep0_.get(), strings(), "strings");
        for (std::uint32_t i = 0; i < endpoints_; ++i) {
            const std::string path = folder_ / ("ep" + std::to_string(i + 1));
            // Not blocking: a request on an endpoint that is disabled answers at once, where
            // io_submit() would wait for the host (ffs_epfile_wait_ep()).
            const Fd opened(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
            if (!opened)
                throw_errno("open " + path);
            if (dup3(opened.get(), files_[i].get(), O_CLOEXEC) < 0)
                throw_errno("dup3");
        }
    }

    void bind() override { set_udc(udc_name()); }

    void unbind() override { set_udc(""); }

    bool connect(bool on) override {
        return write_file(std::string(udc_class) + "/" + udc_name() + "/soft_connect",
                          on ? "connect" : "disconnect");
    }

    int endpoint_fd(std::uint32_t endpoint) const override { return files_[endpoint].get(); }

    void close(bool ep0_first) override {
        if (ep0_first)
            ep0_ = Fd();
        for (std::uint32_t i = 0; i < endpoints_; ++i)
            dup3(grave_.get(), files_[i].get(), O_CLOEXEC);
        ep0_ = Fd();
    }

private:
    static void set_udc(const std::string& name) {
        const std::string path = std::string(gadget_folder) + "/UDC";
        // Unbinding what is not bound is ENODEV: ep0's close may have done it already.
        if (!write_file(path, name + "\n") && !(name.empty() && errno == ENODEV))
            throw_errno("write '" + name + "' to " + path);
    }

    const std::string ep0_path_;
    const std::filesystem::path folder_;
    const std::uint32_t endpoints_;
    Fd grave_; // never ready; keeps the numbers of endpoints that are closed
    Fd ep0_;
    std::array<Fd, max_endpoints> files_;
};

} // namespace

std::string udc_name() {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(udc_class, error))
        return entry.path().filename();
    throw std::runtime_error("there is no USB device controller: dummy_hcd is not loaded");
}

std::string Gadget::state() const {
    std::string text = read_file(std::string(udc_class) + "/" + udc_name() + "/state").value_or("");
    return text.substr(0, text.find('\n'));
}

std::unique_ptr<Gadget> make_functionfs(const std::string& ep0_path, std::uint32_t endpoints) {
    return std::make_unique<FunctionFs>(ep0_path, endpoints);
}

} // namespace at
