# A task for the driver in hello_driver.py: a driver of one's own needs no agent to be tried out.
#
#   trio-driver run --plugin examples/hello_driver.py examples/greeter.nomad.hcl
#
# It greets until it is stopped: press Ctrl-C.

job "greeter" {
  group "greeter" {
    task "greeter" {
      driver = "hello-world-example"

      config {
        greeting = "Hello from ${NOMAD_TASK_NAME}, allocation ${NOMAD_SHORT_ALLOC_ID}!"
      }
    }
  }
}
