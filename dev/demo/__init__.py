"""`make demo`: a shop's life, played with real kubectl on a real Kubernetes API server.

- `story`: what is played, a scene a function
- `access`: two scenes more where people sign in
- `stage`: what scenes do: run kubectl, wait until something is so
- `watch`: what changes in the shop meanwhile, told by `kubectl get --watch`
- `screen`: how it is shown: a live table on a terminal, plain lines in a log
- `house`: what has to run: control plane, simulator, operator
"""
