"""The whole stack on one machine without Docker: `python -m stack`, and what the containers of compose.yaml need.

access      the first keys and passwords, made where they are used (compose)
traffic     the demo's application, again and again (both)
programs    where Prometheus, Alertmanager and Grafana are on this machine
files       their configurations, made of the shipped ones
child       a server as a child process
servers     which servers, and how each is started
told        takes what Alertmanager sends, and shows it
watch       what Prometheus and Alertmanager say of the backend
__main__    `python -m stack`: starts all of it, says where to look, ends all of it
"""
