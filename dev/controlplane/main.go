// Command controlplane is a Kubernetes control plane in one program: etcd, kube-apiserver,
// kube-controller-manager and kubectl. Which of them runs is decided by the name it is called by
// (a symlink called kubectl is kubectl), else by its first argument:
//
//	controlplane kube-apiserver --secure-port=6443 ...
//
// With CONTROLPLANE_LIFELINE=stdin in its environment it exits as soon as its standard input is
// closed. Whoever starts it that way holds the other end of a pipe, and when they are gone, for
// whatever reason (SIGKILL included), the kernel closes the pipe and no process is left behind.
package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubectl's ways to log in to a cluster of one's own
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

const lifelineVariable = "CONTROLPLANE_LIFELINE"

// programs maps a name to what runs it; each exits the process with its own exit code.
var programs = map[string]func(){
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"kube-apiserver":          func() { os.Exit(cli.Run(apiserver.NewAPIServerCommand())) },
	"kube-controller-manager": func() { os.Exit(cli.Run(controllermanager.NewControllerManagerCommand())) },
	"kubectl":                 runKubectl,
}

func main() {
	run, found := programs[filepath.Base(os.Args[0])]
	if !found && len(os.Args) > 1 {
		// Each program reads os.Args itself and expects its own name first.
		os.Args = os.Args[1:]
		run, found = programs[os.Args[0]]
	}
	if !found {
		fmt.Fprintln(os.Stderr, "usage: controlplane etcd|kube-apiserver|kube-controller-manager|kubectl ...")
		os.Exit(2)
	}
	if os.Getenv(lifelineVariable) == "stdin" {
		go exitWhenStdinCloses()
	}
	run()
}

func exitWhenStdinCloses() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	fmt.Fprintln(os.Stderr, "the process that started this one is gone: exiting")
	os.Exit(1)
}

func runKubectl() {
	// As kubectl's own main does: the verbosity is wanted before the flags are parsed. An unknown
	// value is reported by the parser, later.
	_, _ = logs.GlogSetter(kubectl.GetLogVerbosity(os.Args))
	command := kubectl.NewDefaultKubectlCommand()
	if err := cli.RunNoErrOutput(command); err != nil {
		util.CheckErr(err) // prints it as kubectl does, and exits
	}
	os.Exit(0)
}
