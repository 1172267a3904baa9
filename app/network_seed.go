package app

import (
	"errors"
	"strings"

	"github.com/calmenu/calmenu/internal/config"
	"github.com/calmenu/calmenu/internal/lazyre"
	"github.com/calmenu/calmenu/internal/vm"
	"github.com/calmenu/calmenu/resources"
)

// directProfile takes the image's proxy variables back in login shells. Those of a person's own stay.
const directProfile = `# CALMenu leads this guest's connections out by itself (network.transparent): programs need no proxy.
if [ "${http_proxy-}" = http://127.0.0.1:3128 ]; then unset http_proxy https_proxy no_proxy; fi
`

const directApt = `// CALMenu leads this guest's connections out by itself (network.transparent).
Acquire::http::Proxy "DIRECT";
Acquire::https::Proxy "DIRECT";
`

// networkSeed are the files that take back the proxy settings the image came with, or, where a guest's programs have to
// know of the proxy, empty ones in their place.
func networkSeed(w *config.Workspace) ([]vm.SeedFile, error) {
	var sshd, profile, apt string
	if w.Network.Transparent != "off" {
		env, err := directEnvironment()
		if err != nil {
			return nil, err
		}
		// Its name sorts before the image's own file, and sshd takes the first SetEnv it meets.
		sshd, profile, apt = env, directProfile, directApt
	}
	return []vm.SeedFile{
		{Path: "/etc/ssh/sshd_config.d/00-calmenu-network.conf", Mode: 0o644, Data: []byte(sshd)},
		{Path: "/etc/profile.d/zz-calmenu-network.sh", Mode: 0o644, Data: []byte(profile)},
		{Path: "/etc/apt/apt.conf.d/95calmenu-network", Mode: 0o644, Data: []byte(apt)},
	}, nil
}

var proxyVariable = lazyre.New(` (https?|no)_proxy=\S+`)

// directEnvironment is the environment the image's SSH server gives, without the proxy.
func directEnvironment() (string, error) {
	recipe, err := resources.Guest("customize.sh")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(recipe)) {
		if strings.HasPrefix(line, "SetEnv ") {
			return proxyVariable.ReplaceAllString(line, ""), nil
		}
	}
	return "", errors.New("the guest's recipe sets no environment")
}
