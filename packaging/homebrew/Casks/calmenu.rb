# `make cask` writes version and sha256 of a release; until the first one they are zeros. docs/release.md says how this
# file gets into a tap.
cask "calmenu" do
  version "0.0.0"
  sha256 "0000000000000000000000000000000000000000000000000000000000000000"

  url "https://github.com/calmenu/calmenu/releases/download/v#{version}/CALMenu-#{version}.dmg"
  name "CALMenu"
  desc "Run AI coding agents in isolated virtual machines from the menu bar"
  homepage "https://github.com/calmenu/calmenu"

  livecheck do
    url :url
    strategy :github_latest
  end

  depends_on arch: :arm64
  depends_on formula: "openai/tools/softnet"
  depends_on formula: "openai/tools/tart"
  depends_on macos: ">= :ventura"

  app "CALMenu.app"
  binary "#{appdir}/CALMenu.app/Contents/MacOS/CALMenu"

  uninstall launchctl: "io.github.calmenu.CALMenu",
            quit:      "io.github.calmenu.CALMenu"

  zap trash: [
    "~/.cal",
    "~/Library/Caches/io.github.calmenu.CALMenu",
    "~/Library/LaunchAgents/io.github.calmenu.CALMenu.plist",
    "~/Library/Preferences/io.github.calmenu.CALMenu.plist",
    "~/Library/Saved Application State/io.github.calmenu.CALMenu.savedState",
  ]

  caveats <<~EOS
    Uninstalling leaves what you may still want:
      ~/cal-output    what your agents made; --zap leaves it too
      ~/.cal          settings, snapshots' names and keys of the machines; --zap removes it
      virtual machines, which are Tart's: `tart list` shows them, `tart delete NAME` removes one
  EOS
end
